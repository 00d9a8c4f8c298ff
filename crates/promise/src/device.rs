//! Devices by name. Only this crate names one.

use std::{fmt, str::FromStr};

use burn::tensor::Device;

/// Where tensors live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeviceKind {
    /// The CPU, through Burn's flex backend.
    #[default]
    Flex,
    /// A CUDA device by its number, from 0; needs a build with `--features cuda`.
    Cuda(usize),
}

/// One device or several, over which independent runs are spread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Devices(Vec<DeviceKind>);

impl Devices {
    /// All of them, at least one.
    pub fn all(&self) -> &[DeviceKind] {
        &self.0
    }

    /// The first one.
    pub fn first(&self) -> DeviceKind {
        self.0[0]
    }

    /// The device of whoever needs one.
    ///
    /// # Errors
    ///
    /// [`DeviceError::Several`] if there are more.
    pub fn only(&self) -> Result<DeviceKind, DeviceError> {
        match self.0.as_slice() {
            [one] => Ok(*one),
            _ => Err(DeviceError::Several { names: self.to_string() }),
        }
    }
}

impl Default for Devices {
    fn default() -> Self {
        Self(vec![DeviceKind::default()])
    }
}

impl fmt::Display for Devices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = self.0.iter().map(DeviceKind::to_string).collect();
        f.write_str(&names.join(","))
    }
}

impl FromStr for Devices {
    type Err = DeviceError;

    fn from_str(names: &str) -> Result<Self, Self::Err> {
        names.split(',').map(|name| name.trim().parse()).collect::<Result<_, _>>().map(Self)
    }
}

/// A device that cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeviceError {
    /// No such name.
    #[error("unknown device `{name}`, expected one of `flex`, `cuda`, `cuda:N`")]
    Unknown {
        /// What was asked for.
        name: String,
    },
    /// Several, where one is needed.
    #[error("one device is needed here, not `{names}`; `ablate` spreads runs over several")]
    Several {
        /// What was asked for.
        names: String,
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
    /// What kind it is, whatever its number.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Flex => "flex",
            Self::Cuda(_) => "cuda",
        }
    }

    /// Waits until all that was asked of the device is done.
    ///
    /// # Errors
    ///
    /// [`DeviceError::Unusable`] if something of it failed.
    pub fn finish(self, device: &Device) -> Result<(), DeviceError> {
        device.sync().map_err(|error| DeviceError::Unusable { reason: error.to_string() })
    }

    /// What PyTorch calls it.
    pub(crate) fn torch_name(self) -> String {
        match self {
            Self::Flex => "cpu".to_owned(),
            Self::Cuda(number) => format!("cuda:{number}"),
        }
    }

    /// Whether the backend is part of this program.
    pub const fn is_built(self) -> bool {
        match self {
            Self::Flex => true,
            Self::Cuda(_) => cfg!(feature = "cuda"),
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
            Self::Cuda(number) => {
                use std::{
                    collections::BTreeMap,
                    sync::{Mutex, PoisonError},
                };

                // Asked once for each, before anything else works: meanwhile nobody else's panic is shown.
                static ASKED: Mutex<BTreeMap<usize, Result<(), DeviceError>>> =
                    Mutex::new(BTreeMap::new());
                let mut asked = ASKED.lock().unwrap_or_else(PoisonError::into_inner);
                let answer = asked.entry(number).or_insert_with(|| usable(&Device::cuda(number)));
                answer.clone().map(|()| Device::cuda(number))
            }
            #[cfg(not(feature = "cuda"))]
            Self::Cuda(_) => Err(DeviceError::NotBuilt),
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
        (_, Some(reason)) => Err(DeviceError::Unusable { reason: in_short(&reason) }),
        (Ok(sum), None) => {
            let sum = sum.map_or("nothing".into(), |sum| format!("{sum:?}"));
            Err(DeviceError::Unusable { reason: format!("the sum of two ones is {sum}") })
        }
        (Err(_), None) => Err(DeviceError::Unusable { reason: "it panics".into() }),
    }
}

/// What a panic said, on one line and no longer than one: the names of thirty libraries help nobody.
#[cfg(any(feature = "cuda", test))]
fn in_short(reason: &str) -> String {
    const LONGEST: usize = 160;
    let line = reason.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{} …", &line[..end]),
        None => line,
    }
}

impl fmt::Display for DeviceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flex | Self::Cuda(0) => f.write_str(self.name()),
            Self::Cuda(number) => write!(f, "{}:{number}", self.name()),
        }
    }
}

impl FromStr for DeviceKind {
    type Err = DeviceError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let number = name.strip_prefix("cuda:").and_then(|number| number.parse().ok());
        match (name, number) {
            ("flex", _) => Ok(Self::Flex),
            ("cuda", _) => Ok(Self::Cuda(0)),
            (_, Some(number)) => Ok(Self::Cuda(number)),
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
    fn a_long_reason_is_cut() {
        assert_eq!(in_short("no  driver\n here"), "no driver here");
        let cut = in_short(&"é".repeat(500));
        assert!(cut.ends_with("é …") && cut.chars().count() == 162, "{cut}");
    }

    #[test]
    fn names_are_read_back() {
        for kind in [DeviceKind::Flex, DeviceKind::Cuda(0), DeviceKind::Cuda(7)] {
            assert_eq!(kind.to_string().parse(), Ok(kind));
        }
        let error = "gpu".parse::<DeviceKind>().expect_err("no such device").to_string();
        assert_eq!(error, "unknown device `gpu`, expected one of `flex`, `cuda`, `cuda:N`");
        let two: Devices = "cuda:0,cuda:1".parse().expect("two devices");
        assert_eq!((two.first(), two.all().len()), (DeviceKind::Cuda(0), 2));
        assert!(two.only().expect_err("two").to_string().contains("`cuda,cuda:1`"));
        assert!("cuda:".parse::<Devices>().is_err() && "".parse::<Devices>().is_err());
    }
}
