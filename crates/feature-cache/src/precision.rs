//! How numbers are stored.

use half::{f16, slice::HalfFloatSliceExt};
use serde::{Deserialize, Serialize};

/// How the numbers of an entry are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// As they are, four bytes.
    F32,
    /// Rounded to half precision, two bytes: 11 significant bits, largest value 65,504.
    #[default]
    F16,
    /// One byte, with one scale per channel: the largest magnitude of the channel is 127 steps.
    Int8,
}

/// Largest step of [`Precision::Int8`].
const STEPS: f32 = 127.0;

impl Precision {
    /// All, by growing loss.
    pub const ALL: [Self; 3] = [Self::F32, Self::F16, Self::Int8];

    /// The name in files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Int8 => "int8",
        }
    }

    /// What comes back of numbers that are stored: the same for who computed them and for who reads
    /// them.
    ///
    /// # Panics
    ///
    /// Panics if `channels` does not divide the number of values: a bug in the caller.
    pub fn round(self, values: &[f32], channels: usize) -> Vec<f32> {
        assert!(values.len().is_multiple_of(channels.max(1)), "channels of equal length");
        match self {
            Self::F32 => values.to_vec(),
            _ => self.unpack(&self.pack(values, channels), channels),
        }
    }

    /// Bytes of `channels * per_channel` numbers.
    pub(crate) fn bytes(self, channels: usize, per_channel: usize) -> usize {
        let numbers = channels * per_channel;
        match self {
            Self::F32 => 4 * numbers,
            Self::F16 => 2 * numbers,
            Self::Int8 => 4 * channels + numbers,
        }
    }

    /// The stored bytes of numbers, channel by channel.
    pub(crate) fn pack(self, values: &[f32], channels: usize) -> Vec<u8> {
        match self {
            Self::F32 => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            Self::F16 => {
                // A number beyond the largest half would come back as infinity.
                let clamped = values.iter().map(|value| match value {
                    value if value.is_nan() => *value,
                    value => value.clamp(f16::MIN.to_f32(), f16::MAX.to_f32()),
                });
                let mut halves = vec![f16::ZERO; values.len()];
                halves.convert_from_f32_slice(&clamped.collect::<Vec<_>>());
                halves.iter().flat_map(|half| half.to_le_bytes()).collect()
            }
            Self::Int8 => {
                let per_channel = values.len() / channels.max(1);
                let mut scales = Vec::with_capacity(4 * channels + values.len());
                let mut steps = Vec::with_capacity(values.len());
                for channel in values.chunks_exact(per_channel.max(1)) {
                    let largest = channel.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
                    let scale = largest / STEPS;
                    scales.extend(scale.to_le_bytes());
                    let per_step = if scale > 0.0 { 1.0 / scale } else { 0.0 };
                    steps.extend(channel.iter().map(|value| {
                        (value * per_step).round_ties_even().clamp(-STEPS, STEPS) as i8 as u8
                    }));
                }
                scales.extend(steps);
                scales
            }
        }
    }

    /// The numbers of stored bytes; their count was checked.
    pub(crate) fn unpack(self, bytes: &[u8], channels: usize) -> Vec<f32> {
        match self {
            Self::F32 => {
                bytes.as_chunks::<4>().0.iter().map(|it| f32::from_le_bytes(*it)).collect()
            }
            Self::F16 => {
                let halves: Vec<f16> =
                    bytes.as_chunks::<2>().0.iter().map(|it| f16::from_le_bytes(*it)).collect();
                let mut values = vec![0.0; halves.len()];
                halves.convert_to_f32_slice(&mut values);
                values
            }
            Self::Int8 => {
                let (scales, steps) = bytes.split_at(4 * channels);
                let scales = scales.as_chunks::<4>().0.iter().map(|it| f32::from_le_bytes(*it));
                let per_channel = steps.len() / channels.max(1);
                scales
                    .zip(steps.chunks_exact(per_channel.max(1)))
                    .flat_map(|(scale, steps)| {
                        steps.iter().map(move |step| f32::from(*step as i8) * scale)
                    })
                    .collect()
            }
        }
    }
}

impl std::fmt::Display for Precision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn there_and_back(precision: Precision, values: &[f32], channels: usize) -> Vec<f32> {
        let bytes = precision.pack(values, channels);
        assert_eq!(bytes.len(), precision.bytes(channels, values.len() / channels));
        precision.unpack(&bytes, channels)
    }

    #[test]
    fn halves_that_are_too_large_stay_finite_and_no_number_stays_none() {
        let back = there_and_back(Precision::F16, &[1e9, -1e9, f32::NAN, 0.5], 1);
        assert_eq!(back[..2], [65_504.0, -65_504.0]);
        assert!(back[2].is_nan());
        assert_eq!(back[3], 0.5);
    }

    #[test]
    fn a_channel_of_zeros_stays_zero() {
        let back = there_and_back(Precision::Int8, &[0.0, 0.0, 1.0, -127.0], 2);
        assert_eq!(back, [0.0, 0.0, 1.0, -127.0]);
    }

    proptest! {
        #[test]
        fn what_comes_back_is_as_near_as_promised(
            channels in 1..5_usize, values in prop::collection::vec(-100.0..100.0_f32, 12 * 5),
        ) {
            let values = &values[..12 * channels];
            prop_assert_eq!(&there_and_back(Precision::F32, values, channels), values);
            for (back, value) in there_and_back(Precision::F16, values, channels).iter().zip(values) {
                // Half a unit of the last of 11 bits, or of the smallest half.
                prop_assert!((back - value).abs() <= value.abs() / 2048.0 + 3e-8);
            }
            let back = there_and_back(Precision::Int8, values, channels);
            for (back, values) in back.chunks(12).zip(values.chunks(12)) {
                let largest = values.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
                for (back, value) in back.iter().zip(values) {
                    prop_assert!((back - value).abs() <= 0.501 * largest / STEPS);
                }
            }
        }
    }
}
