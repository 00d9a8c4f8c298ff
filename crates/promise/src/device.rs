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
    /// There is no driver, no device, or none that works.
    #[error(
        "CUDA cannot be used ({reason}); it needs an NVIDIA GPU with its driver, and NVRTC and the toolkit's headers \
         (CUDA_PATH) to compile kernels; `--device flex` computes on the CPU"
    )]
    Unusable {
        /// What the runtime said.
        reason: String,
    },
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
    /// [`DeviceError::NotBuilt`] if the backend is not part of this program, [`DeviceError::Unusable`] if a first
    /// computation on the device fails.
    pub fn device(self) -> Result<Device, DeviceError> {
        match self {
            Self::Flex => Ok(Device::flex()),
            #[cfg(feature = "cuda")]
            Self::Cuda => {
                use std::sync::OnceLock;

                // Asked once, before anything else works: meanwhile nobody else's panic is shown.
                static USABLE: OnceLock<Result<(), DeviceError>> = OnceLock::new();
                USABLE.get_or_init(|| usable(&Device::cuda(0))).clone()?;
                Ok(Device::cuda(0))
            }
            #[cfg(not(feature = "cuda"))]
            Self::Cuda => Err(DeviceError::NotBuilt),
        }
    }
}

/// Whether a device computes.
///
/// Burn panics where there is no driver, on whatever thread computes first, so what panics say is heard by a hook of the
/// whole process, one caller at a time. The former hook comes back however this ends.
#[cfg(any(feature = "cuda", test))]
fn usable(device: &Device) -> Result<(), DeviceError> {
    use std::{
        panic::{self, PanicHookInfo},
        sync::{Arc, Mutex, PoisonError},
    };

    use burn::tensor::Tensor;

    type Hook = Box<dyn Fn(&PanicHookInfo<'_>) + Send + Sync>;

    /// Puts a hook back.
    struct Former(Option<Hook>);
    impl Drop for Former {
        fn drop(&mut self) {
            if let Some(hook) = self.0.take() {
                panic::set_hook(hook);
            }
        }
    }

    // Two at once would each take the other's hook for the former one.
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let said = Arc::new(Mutex::new(None));
    let former = Former(Some(panic::take_hook()));
    let heard = said.clone();
    panic::set_hook(Box::new(move |info| {
        // The first panic is the cause, others follow from it.
        let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
        let payload = info.payload();
        let said = payload.downcast_ref::<String>().map(String::as_str);
        let said = said.or_else(|| payload.downcast_ref::<&str>().copied());
        let said = said.unwrap_or("no reason given");
        tracing::debug!("a panic while a device was tried: {said}");
        heard.get_or_insert_with(|| said.to_owned());
    }));
    let sum = panic::catch_unwind(|| {
        Tensor::<1>::ones([2], device).sum().into_data().try_to_vec::<f32>().ok()
    });
    drop(former);
    let said = said.lock().unwrap_or_else(PoisonError::into_inner).take();
    match (sum, said) {
        (Ok(Some(sum)), _) if sum == [2.0] => Ok(()),
        (_, Some(reason)) => Err(DeviceError::Unusable {
            reason: reason.split_whitespace().collect::<Vec<_>>().join(" "),
        }),
        (Ok(sum), None) => {
            let sum = sum.map_or("nothing".into(), |sum| format!("{sum:?}"));
            Err(DeviceError::Unusable { reason: format!("the sum of two ones is {sum}") })
        }
        (Err(_), None) => Err(DeviceError::Unusable { reason: "it panics".into() }),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_computes_is_usable() {
        assert_eq!(usable(&Device::flex()), Ok(()));
    }

    #[test]
    fn names_are_read_back() {
        for kind in [DeviceKind::Flex, DeviceKind::Cuda] {
            assert_eq!(kind.to_string().parse(), Ok(kind));
        }
        let error = "gpu".parse::<DeviceKind>().expect_err("no such device").to_string();
        assert_eq!(error, "unknown device `gpu`, expected one of `flex`, `cuda`");
    }
}
