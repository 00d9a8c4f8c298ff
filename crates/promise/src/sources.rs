//! The data sets of a plan, opened but not decoded, and what they are by content.

use std::{collections::BTreeMap, path::Path};

use data_loaders::{Catalog, DataError, DataSet};

use crate::{
    plan::RunPlan,
    run::{Context, RunError},
    spec::SourceSpec,
};

/// Seed of the choice of held-out images.
const VALIDATION_SEED: u64 = 0;

/// The data sets of a plan, opened but not decoded.
pub(crate) struct Sources {
    /// What is trained on.
    pub train: DataSet,
    /// Held-out training images.
    pub valid: DataSet,
    /// What is evaluated, set by set.
    pub test: Vec<DataSet>,
    /// The sets that `train` and `valid` are parts of. Which parts is a matter of settings.
    train_from: Vec<DataSet>,
}

impl Sources {
    pub fn open(plan: &RunPlan, context: &Context) -> Result<Self, RunError> {
        let spec = &plan.spec.data;
        let (mut train, mut valid, mut train_from) = (Vec::new(), Vec::new(), Vec::new());
        for name in &spec.train {
            let mut set = open(plan, name, &spec.train_split, context.data_root.as_deref())?;
            if let Some(limit) = spec.train_limit {
                set = set.limit(limit);
            }
            // Every set gives its share, and the same images whatever the seed of the run, so that
            // seeds can be compared.
            let (rest, held_out) =
                set.split_off_validation(spec.validation_fraction, VALIDATION_SEED)?;
            train.push(rest);
            valid.push(held_out);
            train_from.push(set);
        }
        let (mut train, valid) = (DataSet::join(&train), DataSet::join(&valid));
        if let Some(images) = spec.train_images {
            // After the held-out part is taken: runs with few and with many images pick their epoch on the same
            // ones. By the seed of the run: that so few images happen to be these is part of the experiment.
            train = train.sample(images, plan.seed)?;
        }
        Ok(Self { train, valid, test: Self::open_test(plan, context)?, train_from })
    }

    /// The training images that a prompt module is fitted to: so many, drawn by the seed of the run from those that
    /// others are trained on. Fewer are part of more.
    pub fn examples(&self, plan: &RunPlan, images: usize) -> Result<DataSet, RunError> {
        Ok(self.train.sample(images, plan.seed)?)
    }

    pub fn open_test(plan: &RunPlan, context: &Context) -> Result<Vec<DataSet>, RunError> {
        let spec = &plan.spec.data;
        let mut test = Vec::new();
        for name in &spec.test {
            let set = open(plan, name, &spec.test_split, context.data_root.as_deref())?;
            test.push(match spec.test_limit {
                Some(limit) => set.limit(limit),
                None => set,
            });
        }
        Ok(test)
    }
}

/// Opens one data set of a plan, from its card or from where `data.sources` says.
pub(crate) fn open(
    plan: &RunPlan,
    name: &str,
    split: &str,
    root: Option<&Path>,
) -> Result<DataSet, RunError> {
    let Some(source) = plan.spec.data.sources.get(name) else {
        return Ok(DataSet::open(name, split, root, &Catalog::built_in())?);
    };
    let set = match source {
        SourceSpec { images: Some(images), masks: Some(masks), splits, .. } => {
            let all = DataSet::from_folders(images, masks)?;
            match splits {
                Some(splits) => all.split_by(splits, split, name)?,
                None => all,
            }
        }
        SourceSpec { csv: Some(csv), root, .. } => {
            let folder = csv.parent().unwrap_or(Path::new("."));
            DataSet::from_csv(csv, split, root.as_deref().unwrap_or(folder))?
        }
        // Refused when the file was read.
        _ => DataSet::open(name, split, root, &Catalog::built_in())?,
    };
    Ok(set.renamed(name))
}

/// Content of data sets, read once for all runs that use them.
#[derive(Default)]
pub(crate) struct Contents {
    known: Vec<(DataSet, String)>,
}

impl Contents {
    /// SHA-256 by `<data set> <split>`; see [`DataSet::content_sha256`].
    ///
    /// # Errors
    ///
    /// If a file cannot be read.
    pub fn of(
        &mut self,
        sources: &Sources,
        trains: bool,
    ) -> Result<BTreeMap<String, String>, DataError> {
        let train = sources.train_from.iter().filter(|_| trains);
        train
            .chain(&sources.test)
            .map(|set| Ok((format!("{} {}", set.name(), set.split()), self.sha256(set)?)))
            .collect()
    }

    fn sha256(&mut self, set: &DataSet) -> Result<String, DataError> {
        if let Some((_, sha256)) = self.known.iter().find(|(known, _)| known == set) {
            return Ok(sha256.clone());
        }
        let sha256 = set.content_sha256()?;
        self.known.push((set.clone(), sha256.clone()));
        Ok(sha256)
    }
}
