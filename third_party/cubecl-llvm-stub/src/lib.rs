//! Same names as `cubecl-llvm` 0.11.3 as far as `cubecl-cuda` 0.11.3 uses them; compiling always fails.
use cubecl_core::ir::{DeviceProperties, amd::GfxArch, nvidia::SmArch};
use cubecl_core::prelude::KernelDefinition;
use cubecl_environment::backtrace::BackTrace;
use cubecl_server::compiler::{CompilationError, Compiler};
use cubecl_server::kernel::BufferIOAttr;

pub mod nvptx {
    pub mod ptx_version {
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub struct PtxVersion(u32);
        impl PtxVersion {
            pub fn for_driver(_driver: i32) -> Option<Self> { None }
        }
        impl core::fmt::Display for PtxVersion {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result { write!(f, "ptx{}", self.0) }
        }
    }
}
pub mod shared {
    pub mod lowered_features {
        pub enum GpuTarget { Nvptx }
        pub fn restrict_features(_p: &mut super::super::DeviceProps, _t: GpuTarget) {}
    }
}
pub type DeviceProps = DeviceProperties;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LlvmTarget { #[default] Nvptx }

#[derive(Clone, Debug, Default)]
pub struct PlironCompiler { pub target: LlvmTarget }

#[derive(Clone, Debug, Default)]
pub struct PlironOptions {
    pub arch: Option<GfxArch>,
    pub sm_arch: Option<SmArch>,
    pub ptx_version: Option<nvptx::ptx_version::PtxVersion>,
    pub grid_constants: bool,
}
#[derive(Clone, Debug)]
pub struct NvptxModule {
    pub ptx: Vec<core::ffi::c_char>,
    pub entrypoint: String,
    pub ir: String,
    pub shared_memory_size: usize,
    pub io: Vec<BufferIOAttr>,
}
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum PlironArtifact { NvptxCode(NvptxModule) }
impl core::fmt::Display for PlironArtifact {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result { let Self::NvptxCode(m) = self; f.write_str(&m.ir) }
}
impl Compiler for PlironCompiler {
    type Representation = PlironArtifact;
    type CompilationOptions = PlironOptions;
    fn compile(&mut self, _k: KernelDefinition, _o: &PlironOptions) -> Result<PlironArtifact, CompilationError> {
        Err(CompilationError::Generic {
            reason: "built without LLVM: enable the `cpp` feature of cubecl-cuda".into(),
            backtrace: BackTrace::capture(),
        })
    }
    fn extension(&self) -> &'static str { "ll" }
    fn lang_tag(&self) -> &'static str { "llvm" }
}
