//! Decoding a whole data set, in parallel and in order.

use rayon::prelude::*;

use crate::{Case, DataError, DataSet};

/// What to do with a case that cannot be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadCases {
    /// Stop with the error of the first bad case, by index.
    Fail,
    /// Leave it out and say so in [`Loaded::skipped`].
    Skip,
}

/// A decoded data set.
#[derive(Debug)]
pub struct Loaded {
    /// The good cases, in the order of the data set.
    pub cases: Vec<Case>,
    /// The bad ones, in the order of the data set; empty with [`BadCases::Fail`].
    pub skipped: Vec<Skipped>,
}

/// A case that was left out.
#[derive(Debug)]
pub struct Skipped {
    /// Its index in the data set.
    pub index: usize,
    /// Its id.
    pub id: String,
    /// Why, with the path of the file.
    pub reason: DataError,
}

impl DataSet {
    /// Decodes some cases, one after the other, hands the good ones to `keep`, and gives the bad ones.
    ///
    /// One image is in memory at a time, but for what `keep` keeps.
    ///
    /// # Panics
    ///
    /// Panics if an index is not below [`len`](Self::len): a bug in the caller.
    pub fn load_each(&self, indices: &[usize], mut keep: impl FnMut(Case)) -> Vec<Skipped> {
        let mut skipped = Vec::new();
        for &index in indices {
            match self.load(index) {
                Ok(case) => keep(case),
                Err(reason) => {
                    skipped.push(Skipped { index, id: self.id(index).to_owned(), reason });
                }
            }
        }
        skipped
    }

    /// Decodes every case, on all threads of the current rayon pool, in the order of the set.
    ///
    /// The result does not depend on the number of threads. All images are in memory at once:
    /// `3 + 1` bytes per pixel.
    ///
    /// # Errors
    ///
    /// With [`BadCases::Fail`], the error of the bad case with the lowest index.
    pub fn load_all(&self, bad: BadCases) -> Result<Loaded, DataError> {
        let results: Vec<_> =
            (0..self.len()).into_par_iter().map(|index| self.load(index)).collect();
        let mut loaded = Loaded { cases: Vec::with_capacity(self.len()), skipped: Vec::new() };
        for (index, result) in results.into_iter().enumerate() {
            match (result, bad) {
                (Ok(case), _) => loaded.cases.push(case),
                (Err(reason), BadCases::Fail) => return Err(reason),
                (Err(reason), BadCases::Skip) => {
                    let id = self.id(index).to_owned();
                    loaded.skipped.push(Skipped { index, id, reason });
                }
            }
        }
        Ok(loaded)
    }
}
