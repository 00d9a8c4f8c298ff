//! Parity of IPS with PyTorch.

use burn::{
    store::{ModuleSnapshot, PyTorchToBurnAdapter, SafetensorsStore},
    tensor::{Device, Tolerance},
};
use fixtures::Fixture;
use ips::IpsConfig;

/// Fixture `ips_forward`: `crates/fixtures/data/ips_forward/make.py`, seed 0, B=2 C=4 H=W=3 T=4, f32.
/// Tolerance: both sides sum at most 16 products of numbers around 1 in f32.
#[test]
fn ips_forward_matches_reference() {
    let device = Device::flex();
    let fixture = Fixture::open("ips_forward");
    let mut ips = IpsConfig::new().with_embed_dim(4).init(&device);
    let mut weights =
        SafetensorsStore::from_file(fixture.path()).with_from_adapter(PyTorchToBurnAdapter);
    ips.load_from(&mut weights).expect("the fixture holds every weight of IPS");

    let shift = ips.forward(fixture.tensor("image_embedding", &device));

    shift.into_data().assert_approx_eq::<f32>(
        &fixture.tensor::<3>("shift", &device).into_data(),
        Tolerance::absolute(1e-5),
    );
}
