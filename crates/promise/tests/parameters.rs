//! What is trained on ViT-B, counted as the published code's optimizer would.

use apm::{Apm, ApmSpec};
use burn::tensor::Device;
use ips::IpsSpec;
use promise::backbone::info;
use prompting::{PromptModule, num_trainable_params};
use sam_backbone::Variant;

#[test]
fn the_adapters_on_vit_b_have_the_published_numbers_of_parameters() {
    let device = Device::flex();
    let config = Variant::VitB.config();
    // Weights are lazy in Burn, so counting does not allocate them.
    let prompt = Apm::from_spec(&ApmSpec::default(), &info(&config), &device).expect("it fits");
    let shift = IpsSpec::default()
        .config(config.image_encoder.embed_dim, config.n_mask_tokens())
        .expect("the defaults fit")
        .init(&device);
    let (prompt, shift) = (num_trainable_params(&prompt), num_trainable_params(&shift));
    assert_eq!(prompt, 28_191_136);
    assert_eq!(shift, 1_312_768);
    assert_eq!(prompt + shift, 29_503_904);
}
