//! Devices by name. Only this crate names one.

use std::{fmt, str::FromStr};

use burn::tensor::Device;

/// Where tensors live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeviceKind {
    /// The CPU, through Burn's flex backend.
    #[default]
    Flex,
    /// The first CUDA device; needs a build with `--features cuda`.
    Cuda,
}

/// A device that cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeviceError {
    /// No such name.
    #[error("unknown device `{name}`, expected one of `flex`, `cuda`")]
    Unknown {
        /// What was asked for.
        name: String,
    },
    /// The program was built without the backend.
    #[error(
        "this program was built without CUDA: `cargo run -p xtask --features cuda -- ...` builds it with"
    )]
    NotBuilt,
}

impl DeviceKind {
    /// The name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Flex => "flex",
            Self::Cuda => "cuda",
        }
    }

    /// Whether the backend is part of this program.
    pub const fn is_built(self) -> bool {
        match self {
            Self::Flex => true,
            Self::Cuda => cfg!(feature = "cuda"),
        }
    }

    /// The device, without autodiff.
    ///
    /// # Errors
    ///
    /// [`DeviceError::NotBuilt`] if the backend is not part of this program.
    pub fn device(self) -> Result<Device, DeviceError> {
        match self {
            Self::Flex => Ok(Device::flex()),
            #[cfg(feature = "cuda")]
            Self::Cuda => Ok(Device::cuda(0)),
            #[cfg(not(feature = "cuda"))]
            Self::Cuda => Err(DeviceError::NotBuilt),
        }
    }
}

impl fmt::Display for DeviceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for DeviceKind {
    type Err = DeviceError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "flex" => Ok(Self::Flex),
            "cuda" => Ok(Self::Cuda),
            _ => Err(DeviceError::Unknown { name: name.to_owned() }),
        }
    }
}
