//! Data sets: which of those with a card are there.

use data_loaders::{Catalog, DataError, Inventory, error_chain};

use crate::{Area, Question, Report};

pub(crate) fn examine(question: &Question, report: &mut Report) {
    let Some(root) = &question.data_root else {
        report.ok(
            Area::Data,
            "no data root (--data-root, PROMISE_DATA): generated images and your own folders only",
        );
        return;
    };
    if !root.is_dir() {
        report.problem(
            Area::Data,
            format!("the data root is not a folder: {}", root.display()),
            "name the folder that the data sets lie in with --data-root or PROMISE_DATA",
        );
        return;
    }
    let catalog = Catalog::built_in();
    let mut absent = Vec::new();
    for card in catalog.cards() {
        let name = &card.name;
        match Inventory::of_card(card, root) {
            Err(DataError::LayoutMissing { .. }) => absent.push(name.clone()),
            Err(error) => report.problem(
                Area::Data,
                format!("{name}: {}", error_chain(&error)),
                "look at the folder's rights",
            ),
            Ok(inventory) => splits(name, &inventory, report),
        }
    }
    if !absent.is_empty() {
        report.ok(Area::Data, format!("not below {}: {}", root.display(), absent.join(", ")));
    }
}

fn splits(name: &str, inventory: &Inventory, report: &mut Report) {
    let (mut whole, mut lacking) = (Vec::new(), Vec::new());
    // Another packaging of the same set may not have a split at all.
    for split in inventory.splits.iter().filter(|split| split.found > 0) {
        match split.expected {
            Some(expected) if split.found < expected => {
                lacking.push(format!("{} {} of {expected}", split.name, split.found));
            }
            _ => whole.push(format!("{} {}", split.name, split.found)),
        }
    }
    if lacking.is_empty() && !whole.is_empty() {
        report.ok(Area::Data, format!("{name}: complete ({})", whole.join(", ")));
        return;
    }
    let found = match lacking.is_empty() {
        true => "no image with a mask".into(),
        false => lacking.join(", "),
    };
    report.warn(
        Area::Data,
        format!("{name}: incomplete: {found}"),
        format!("`cargo xtask data check {name}` names what is missing; unpack or fetch it again"),
    );
}
