//! Training images in several views: augmentation that a frozen encoder can afford.

use std::sync::Arc;

use crate::{
    features::{EncodeError, EncodedCase, EncodedSet},
    memory::Reading,
    prompt_source::case_generator,
};
use rand::RngExt as _;

/// An encoded set in one or more geometric views, the cases in the same order in each.
#[derive(Debug, Clone)]
pub(crate) struct ViewedSet {
    views: Vec<Arc<EncodedSet>>,
}

impl ViewedSet {
    /// Joins the views of a set.
    ///
    /// # Errors
    ///
    /// [`EncodeError::Changed`] if the views do not hold the same cases: a file went while they were
    /// encoded.
    ///
    /// # Panics
    ///
    /// Panics without a view: a bug in the caller.
    pub fn new(views: Vec<Arc<EncodedSet>>) -> Result<Self, EncodeError> {
        assert!(!views.is_empty(), "a set has at least one view");
        let names = |set: &EncodedSet| -> Vec<(String, String)> {
            set.cases.iter().map(|case| (case.data.clone(), case.id.clone())).collect()
        };
        let first = names(&views[0]);
        if let Some(other) = views.iter().find(|other| names(other) != first) {
            return Err(EncodeError::Changed { data: other.data().name().to_owned() });
        }
        Ok(Self { views })
    }

    /// A set as it is.
    pub fn of(set: Arc<EncodedSet>) -> Self {
        Self { views: vec![set] }
    }

    /// Number of cases; a view more does not make it larger.
    pub fn len(&self) -> usize {
        self.views[0].cases.len()
    }

    /// How much is read ahead.
    pub fn reading(&self) -> Reading {
        self.views[0].reading()
    }

    /// Side of the targets.
    pub fn side(&self) -> usize {
        self.views[0].side()
    }

    /// A case as it is seen in an epoch, and the set that has its features.
    ///
    /// A case shows its views in turn, beginning with one that depends on seed and case, so that all
    /// are seen equally often and every epoch sees all kinds.
    pub fn seen(&self, place: usize, epoch: usize, seed: u64) -> (&EncodedSet, &EncodedCase) {
        let case = &self.views[0].cases[place];
        let n = self.views.len();
        let first = case_generator(seed, VIEW_STREAM, &case.data, &case.id).random_range(0..n);
        let set = &self.views[(first + epoch) % n];
        (set, &set.cases[place])
    }
}

/// Stands for the epoch where a case's first view is drawn; no run has so many epochs.
const VIEW_STREAM: u64 = u64::MAX;

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, sync::atomic::AtomicBool};

    use burn::tensor::Device;
    use data_loaders::{Catalog, DataSet, augment::View};
    use sam_backbone::{ResizeMode, Variant};

    use super::*;
    use crate::{backbone::Backbone, features::Encoding, progress::Silent};

    fn encoded(view: View, cases: usize) -> Arc<EncodedSet> {
        let backbone = Backbone::load(Variant::Micro, None, &Device::flex()).expect("embedded");
        let encoding = Encoding {
            sam: backbone.sam,
            taps: Vec::new(),
            resize: ResizeMode::Plain,
            view,
            store: None,
            reading: Reading::default(),
        };
        let data = DataSet::open("phantom", "train", None, &Catalog::built_in())
            .expect("a set")
            .limit(cases);
        // Nothing goes through the encoder.
        let stop = AtomicBool::new(false);
        Arc::new(EncodedSet::new(encoding, data, true, None, &Silent, &stop).expect("encoded"))
    }

    #[test]
    fn a_case_shows_each_of_its_views_once_in_as_many_epochs() {
        let n = 4;
        let set = ViewedSet::new(View::first(n).into_iter().map(|view| encoded(view, 6)).collect())
            .expect("the same cases");
        let mut first_views = BTreeSet::new();
        for place in 0..set.len() {
            let view = |epoch| set.seen(place, epoch, 1).0.view();
            let shown: BTreeSet<View> = (1..=n).map(view).collect();
            assert_eq!(shown.len(), n);
            assert_eq!(view(1), view(1 + n));
            first_views.insert(view(1));
            let (_, plain) = set.seen(place, 1, 1);
            assert_eq!(plain.id, set.views[0].cases[place].id);
        }
        assert!(first_views.len() > 1, "all cases begin with the same view");
    }

    #[test]
    fn masks_turn_with_their_images() {
        let [plain, flipped] = [0, 1].map(|view| encoded(View::new(view), 2));
        for (a, b) in plain.cases.iter().zip(&flipped.cases) {
            let side = plain.side();
            let mirrored: Vec<bool> = a
                .target
                .mask()
                .values
                .chunks(side)
                .flat_map(|row| row.iter().rev().copied())
                .collect();
            assert_eq!(b.target.mask().values, mirrored);
            assert_ne!(a.target, b.target);
        }
    }

    #[test]
    fn views_of_different_files_are_refused() {
        let views = vec![encoded(View::IDENTITY, 2), encoded(View::new(1), 3)];
        let error = ViewedSet::new(views).expect_err("other cases");
        assert!(matches!(error, EncodeError::Changed { .. }), "{error}");
    }
}
