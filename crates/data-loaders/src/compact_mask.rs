//! A true mask that waits: hundreds of times smaller than its pixels.

use crate::TruthMask;

/// A [`TruthMask`] as lengths of runs. A lesion is a handful of runs a row, whatever the size of the photograph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompactMask {
    width: u32,
    height: u32,
    /// Pixels of one kind in a row, row after row, by turns: background first.
    runs: Box<[u32]>,
}

impl CompactMask {
    /// Packs a mask.
    pub fn of(mask: &TruthMask) -> Self {
        let mut runs = Vec::new();
        let (mut kind, mut length) = (false, 0_u32);
        for &value in &mask.values {
            // A run that is too long for its number is two, with nothing of the other kind between them.
            if value != kind || length == u32::MAX {
                runs.push(length);
                length = 0;
                if value == kind {
                    runs.push(0);
                }
                kind = value;
            }
            length += 1;
        }
        runs.push(length);
        Self { width: mask.width, height: mask.height, runs: runs.into() }
    }

    /// Columns.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Rows.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// The mask as it was.
    pub fn mask(&self) -> TruthMask {
        let mut values = Vec::with_capacity(self.width as usize * self.height as usize);
        for (place, &length) in self.runs.iter().enumerate() {
            values.resize(values.len() + length as usize, place % 2 == 1);
        }
        TruthMask::new(self.width, self.height, values)
    }

    /// Bytes that it takes.
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + size_of_val(&*self.runs)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::synthetic;

    proptest! {
        #[test]
        fn a_mask_comes_back(width in 0..9_u32, values in proptest::collection::vec(any::<bool>(), 72)) {
            let mask = TruthMask::new(width, 8, values[..width as usize * 8].to_vec());
            prop_assert_eq!(CompactMask::of(&mask).mask(), mask);
        }
    }

    #[test]
    fn a_lesion_takes_little() {
        let (_, mask) = synthetic::phantom(1, 0, 256);
        let compact = CompactMask::of(&mask);
        assert_eq!(compact.mask(), mask);
        // At most a few runs a row, of four bytes each.
        assert!(compact.bytes() * 20 < mask.values.len(), "{} bytes", compact.bytes());
    }
}
