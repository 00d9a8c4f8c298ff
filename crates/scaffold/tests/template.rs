//! The template compiles, passes its own tests, and is described as its code says.

// Its items are public in a crate of their own.
#![allow(dead_code, unused_imports)]

#[path = "../template/src/module.rs"]
mod module;
#[path = "../template/src/spec.rs"]
mod spec;

use module::ExamplePromptConfig;
use prompting::{PromptModule, option_docs, option_table};
use spec::ExamplePromptSpec;

#[test]
fn the_page_of_options_says_what_the_template_says() {
    let table = option_table(&option_docs::<ExamplePromptSpec>());
    let summary = module::ExamplePrompt::SUMMARY;
    let section =
        format!("## `example_prompt`\n\n{summary}. By default trained by gradient.\n\n{table}\n");
    assert_eq!(include_str!("../template/options.md.template"), section);
}
