//! The data sets of a plan, opened but not decoded, and what they are by content.

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
    sync::OnceLock,
};

use data_loaders::{Catalog, Content, DataError, DataSet};

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
    ///
    /// # Errors
    ///
    /// [`RunError::TooFewToFit`]
    pub fn examples(&self, plan: &RunPlan, images: usize) -> Result<DataSet, RunError> {
        self.train.sample(images, plan.seed).map_err(|error| match error {
            DataError::TooFewCases { data, asked, cases } => RunError::TooFewToFit {
                module: plan.spec.prompt.module.clone(),
                asked,
                cases,
                data,
                held_out: self.valid.len(),
            },
            error => error.into(),
        })
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

/// The built-in cards, parsed once: there may be thousands of runs.
fn catalog() -> &'static Catalog {
    static CATALOG: OnceLock<Catalog> = OnceLock::new();
    CATALOG.get_or_init(Catalog::built_in)
}

/// Opens one data set of a plan, from its card or from where `data.sources` says.
pub(crate) fn open(
    plan: &RunPlan,
    name: &str,
    split: &str,
    root: Option<&Path>,
) -> Result<DataSet, RunError> {
    let Some(source) = plan.spec.data.sources.get(name) else {
        return Ok(DataSet::open(name, split, root, catalog())?);
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
        _ => DataSet::open(name, split, root, catalog())?,
    };
    Ok(set.renamed(name))
}

/// Content of data sets, read once for all runs that use them.
#[derive(Default)]
pub(crate) struct Contents {
    known: Vec<(DataSet, Content)>,
    largest: Vec<(DataSet, u64)>,
}

/// Test images that are training images too.
pub(crate) struct Overlap {
    /// The tested data set.
    pub data: String,
    /// All images of it.
    pub total: usize,
    /// Those that are trained on, each with the training image that it is.
    pub both: Vec<String>,
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
            .map(|set| {
                let name = format!("{} {}", set.name(), set.split());
                Ok((name, self.content(set)?.sha256.clone()))
            })
            .collect()
    }

    /// The test sets, each with those of its images that are among the images for training and validation. By their
    /// bytes, so that names, folders and sets do not matter.
    ///
    /// # Errors
    ///
    /// If a file cannot be read.
    pub fn overlaps(&mut self, sources: &Sources) -> Result<Vec<Overlap>, DataError> {
        let mut trained: HashMap<[u8; 32], String> = HashMap::new();
        for set in &sources.train_from {
            let images = self.content(set)?.images.clone();
            let name = |id: &str| format!("{} {} {id}", set.name(), set.split());
            trained.extend(images.into_iter().zip(set.ids().map(name)));
        }
        let overlap = |set: &DataSet| {
            let images = self.content(set)?.images.iter().zip(set.ids());
            let both = images
                .filter_map(|(image, id)| Some(format!("{id} is {}", trained.get(image)?)))
                .collect();
            Ok(Overlap { data: set.name().to_owned(), total: set.len(), both })
        };
        sources.test.iter().map(overlap).collect()
    }

    /// Pixels of the largest image of all sets.
    pub fn largest_image(&mut self, sources: &Sources) -> u64 {
        let sets = sources.train_from.iter().chain(&sources.test);
        sets.map(|set| {
            if let Some((_, pixels)) = self.largest.iter().find(|(known, _)| known == set) {
                return *pixels;
            }
            let pixels = set.largest_image();
            self.largest.push((set.clone(), pixels));
            pixels
        })
        .max()
        .unwrap_or(0)
    }

    fn content(&mut self, set: &DataSet) -> Result<&Content, DataError> {
        let place = match self.known.iter().position(|(known, _)| known == set) {
            Some(place) => place,
            None => {
                self.known.push((set.clone(), set.content()?));
                self.known.len() - 1
            }
        };
        Ok(&self.known[place].1)
    }
}
