//! Files of `fixtures/hostile`: what is refused, and with which words.

use std::path::{Path, PathBuf};

use weights_check::{Format, MAX_FILE_BYTES, MAX_HEADER_BYTES, Refused, check, check_tensor};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/hostile").join(name)
}

fn refusal(name: &str) -> String {
    check(&fixture(name), Format::Pickle).expect_err(name).to_string()
}

fn written(folder: &tempfile::TempDir, bytes: &[u8]) -> PathBuf {
    let path = folder.path().join("file");
    std::fs::write(&path, bytes).expect("written");
    path
}

#[test]
fn files_of_tensors_pass_in_each_container() {
    for name in ["good.pth", "legacy_good.pth", "overlapping.pth"] {
        let length = check(&fixture(name), Format::Pickle).expect(name);
        assert_eq!(length, std::fs::metadata(fixture(name)).expect(name).len());
    }
}

#[test]
fn a_pickle_that_names_a_function_is_refused_with_the_name() {
    // The names as Python writes them in protocol 2: those of Python 2.
    for (file, name) in [
        ("os_system.pth", "posix.system"),
        ("os_system_protocol_4.pth", "posix.system"),
        ("os_system_popped.pth", "posix.system"),
        ("legacy_os_system.pth", "posix.system"),
        ("plain_os_system.pth", "posix.system"),
        ("eval.pth", "__builtin__.eval"),
        ("subprocess.pth", "commands.check_call"),
        ("getattr.pth", "__builtin__.getattr"),
    ] {
        let error = check(&fixture(file), Format::Pickle).expect_err(file);
        let Refused::Global { name: found } = &error else { panic!("{file}: {error}") };
        assert_eq!(found, name, "{file}");
        assert!(error.to_string().contains("nothing was executed"), "{error}");
    }
}

#[test]
fn bombs_are_refused_with_bound_and_value() {
    let compressed = refusal("compressed.pth");
    assert!(compressed.contains("`archive/data/0` in it is compressed"), "{compressed}");
    let nested = refusal("nested.pth");
    assert_eq!(nested, "its pickle has 65 levels of nesting, at most 64 are read");
    let text = refusal("long_text.pth");
    assert_eq!(text, "a text or number in its pickle has 2147483648 bytes, at most 65536 are read");
    let bomb = refusal("memo_bomb.pth");
    assert!(bomb.starts_with("what its pickle makes has "), "{bomb}");
    assert!(bomb.ends_with(" bytes, at most 268435456 are read"), "{bomb}");
}

#[test]
fn damaged_and_foreign_files_are_told_apart() {
    for (file, words) in
        [("truncated.pth", "its archive is damaged"), ("extension.pth", "byte 0x82 in its pickle")]
    {
        let error = refusal(file);
        assert!(error.contains(words), "{file}: {error}");
    }
    let folder = tempfile::tempdir().expect("a folder");
    let mut tar = vec![0; 512];
    tar[257..262].copy_from_slice(b"ustar");
    for (bytes, words) in [
        (&b"\x89PNG\r\n"[..], "begins like no file of PyTorch"),
        (b"", "begins like no file of PyTorch"),
        (&tar, "it is a tar archive"),
        (b"\x80\x02}q", "it ends too early"),
        (b"\x80\x02h\x07.", "a reference leads nowhere"),
        (b"\x80\x02a.", "a value is missing"),
        (b"\x80\x02t.", "a mark is missing"),
        (b"\x80\x02(.", "a value is missing"),
    ] {
        let error = check(&written(&folder, bytes), Format::Pickle).expect_err(words).to_string();
        assert!(error.contains(words), "{bytes:?}: {error}");
    }
}

#[test]
fn a_pickle_without_an_end_is_refused_where_no_archive_says_how_long_it_is() {
    // The magic of the older format, and then the version of the protocol again and again: it makes nothing.
    let magic = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.";
    let bytes = [&magic[..], &b"\x80\x02".repeat(17 << 20)].concat();
    let folder = tempfile::tempdir().expect("a folder");
    let error = check(&written(&folder, &bytes), Format::Pickle).expect_err("long").to_string();
    assert!(error.ends_with("bytes or more, at most 33554432 are read"), "{error}");
}

#[test]
fn headers_of_safetensors_are_bounded_by_the_constant_and_by_the_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let header = |length: u64| [&length.to_le_bytes()[..], b"{}"].concat();
    let error = |bytes: &[u8]| {
        check(&written(&folder, bytes), Format::Safetensors).expect_err("bad").to_string()
    };
    assert_eq!(
        error(&header(MAX_HEADER_BYTES + 1)),
        "its header has 16777217 bytes, at most 16777216 are read"
    );
    assert_eq!(error(&header(3)), "it ends too early: its header has 3 bytes, and 2 follow");
    assert_eq!(error(b"{}"), "it ends too early");
    check(&written(&folder, &header(2)), Format::Safetensors).expect("the reader may have it");
}

#[test]
fn a_file_that_no_model_has_is_refused_unread() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("long.pth");
    // A hole: it takes no room on the disk.
    let file = std::fs::File::create(&path).expect("made");
    if file.set_len(MAX_FILE_BYTES + 1).is_err() {
        eprintln!("skipped: this file system has no files of 16 GiB");
        return;
    }
    let error = check(&path, Format::Pickle).expect_err("long").to_string();
    assert_eq!(error, "the file has 17179869185 bytes, at most 17179869184 are read");
    let error = check(folder.path(), Format::Pickle).expect_err("a folder").to_string();
    assert_eq!(error, "it is no regular file");
}

#[test]
fn a_tensor_may_be_as_large_as_its_file() {
    check_tensor("a", 10, 10).expect("fits");
    let error = check_tensor("a", 11, 10).expect_err("too large").to_string();
    assert!(error.starts_with("tensor `a` has 11 bytes, more than the file (10)"), "{error}");
}
