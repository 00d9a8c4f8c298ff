//! Nobody but the page's own browser is answered, and nobody can take more than there is.

mod common;

use std::{io::Write as _, path::Path, sync::Arc, sync::atomic::Ordering, time::Duration};

use common::{Fake, Gate, Page, Reply};
use serde_json::{Value, json};
use serve::{Gallery, Library, Limits, RunList, Settings};

fn limited(limits: Limits) -> Settings {
    Settings { limits, ..Settings::default() }
}

#[test]
fn it_listens_on_the_loopback_address_unless_told_otherwise() {
    let page = Page::of(&Settings::default(), Fake::default());
    assert!(page.address.ip().is_loopback(), "{}", page.address);
    assert_eq!(page.get("/").status, 200);
}

#[test]
fn a_request_for_another_host_is_refused_also_where_its_origin_fits() {
    let page = Page::of(&Settings::default(), Fake::default());
    let port = page.address.port();
    for host in
        [format!("evil.example:{port}"), "127.0.0.1:1".into(), format!("localhost.evil:{port}")]
    {
        let origin = format!("http://{host}");
        for headers in [
            vec![("host", host.as_str())],
            vec![("host", host.as_str()), ("origin", origin.as_str())],
        ] {
            let reply = page.send("GET", "/api/gallery", &headers, b"");
            assert_eq!(reply.status, 403, "{host}");
        }
    }
    let local = format!("localhost:{port}");
    assert_eq!(page.send("GET", "/api/session", &[("host", &local)], b"").status, 200);

    let settings = Settings {
        allowed_hosts: vec!["lab.example".parse().expect("a host")],
        ..Settings::default()
    };
    let page = Page::of(&settings, Fake::default());
    let name = format!("lab.example:{}", page.address.port());
    assert_eq!(page.send("GET", "/api/session", &[("host", &name)], b"").status, 200);
}

#[test]
fn another_page_of_the_same_browser_is_refused() {
    let page = Page::of(&Settings::default(), Fake::default());
    let own = format!("http://{}", page.address);
    let post = |headers: &[(&str, &str)]| {
        page.send("POST", "/api/images/g0/encoding", headers, b"").status
    };
    assert_eq!(post(&[("origin", &own)]), 200);
    assert_eq!(post(&[("origin", &own), ("sec-fetch-site", "same-origin")]), 200);
    for origin in ["http://evil.example", "null", "http://127.0.0.1:1", "https://localhost"] {
        assert_eq!(post(&[("origin", origin)]), 403, "{origin}");
    }
    assert_eq!(post(&[("sec-fetch-site", "cross-site")]), 403);
    assert_eq!(post(&[("sec-fetch-site", "cross-site"), ("sec-fetch-dest", "document")]), 403);
    // A picture that another page embeds, and a link that leads here.
    let embed = [("sec-fetch-site", "cross-site"), ("sec-fetch-dest", "image")];
    assert_eq!(page.send("GET", "/api/images/g0/image.png", &embed, b"").status, 403);
    let link = [("sec-fetch-site", "cross-site"), ("sec-fetch-dest", "document")];
    assert_eq!(page.send("GET", "/", &link, b"").status, 200);
}

#[test]
fn every_answer_carries_a_policy_that_lets_nothing_in_from_elsewhere() {
    let page = Page::of(&Settings::default(), Fake::default());
    for path in ["/", "/main.js", "/api/session", "/nothing", "/api/images/g99999/truth"] {
        let reply = page.get(path);
        let policy = reply.header("content-security-policy").expect("a policy");
        assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-resource-policy", "same-origin"),
        ] {
            assert_eq!(reply.header(name), Some(value), "{path}");
        }
        assert_eq!(reply.header("access-control-allow-origin"), None);
    }
}

#[test]
fn no_path_leads_out_of_the_folders() {
    let outer = tempfile::tempdir().expect("a folder");
    let images = outer.path().join("images");
    std::fs::create_dir(&images).expect("made");
    image::RgbImage::new(8, 8).save(images.join("a.png")).expect("written");
    image::RgbImage::new(8, 8).save(outer.path().join("secret.png")).expect("written");
    let runs = outer.path().join("runs");
    std::fs::create_dir_all(runs.join("experiment")).expect("made");
    let secret = outer.path().join("elsewhere/run");
    std::fs::create_dir_all(&secret).expect("made");
    std::fs::write(secret.join("resolved.json"), "{}").expect("written");
    #[cfg(unix)]
    std::os::unix::fs::symlink(&secret, runs.join("experiment/link")).expect("linked");
    // A run of which one file is a link, deep in its folder.
    let panels = runs.join("linked/run/panels/phantom");
    std::fs::create_dir_all(&panels).expect("made");
    std::fs::write(runs.join("linked/run/record.json"), "{}").expect("written");
    #[cfg(unix)]
    std::os::unix::fs::symlink(outer.path().join("secret.png"), panels.join("000-image.png"))
        .expect("linked");
    let library = Library::new(Gallery::of_folder(&images, None).expect("an image"));
    let list = RunList::new(runs, Vec::new());
    let page = Page::with_runs(&Settings::default(), Fake::default(), library, list);
    assert_eq!(page.get("/api/images/g0/image.png").status, 200);
    let all = page.get("/api/runs").json();
    let names: Vec<_> = all["runs"].as_array().expect("runs").iter().collect();
    assert_eq!(names.len(), 1, "a link that leads out: {all}");
    #[cfg(unix)]
    {
        let figure = page.get("/api/figures/linked/qualitative.svg");
        assert_eq!(figure.status, 403, "{}", figure.text());
        assert!(figure.error().contains("000-image.png"), "{}", figure.error());
    }
    for path in [
        "/../secret.png",
        "/..%2fsecret.png",
        "/api/images/..%2fsecret.png/image.png",
        "/api/images/g0%2f..%2f..%2fsecret/image.png",
        "/api/images/%2fetc%2fpasswd/image.png",
        "/api/images/g-1/image.png",
        "/api/images/g18446744073709551616/image.png",
        "/api/runs/..%2felsewhere/run",
        "/api/runs/elsewhere/run",
        "/api/runs/experiment/link",
        "/api/figures/..%2felsewhere/boxes.svg",
        "/%2e%2e/%2e%2e/etc/passwd",
    ] {
        let reply = page.get(path);
        assert!((400..500).contains(&reply.status), "{path}: {}", reply.status);
    }
}

#[test]
#[cfg(unix)]
fn links_out_of_the_folders_of_images_and_masks_are_refused_in_words() {
    use std::os::unix::fs::symlink;
    let outer = tempfile::tempdir().expect("a folder");
    let [images, masks, elsewhere] =
        ["images", "masks", "elsewhere"].map(|name| outer.path().join(name));
    for path in [&images, &masks, &elsewhere] {
        std::fs::create_dir(path).expect("made");
    }
    for path in [&images, &elsewhere] {
        image::RgbImage::new(8, 8).save(path.join("a.png")).expect("written");
    }
    image::GrayImage::new(8, 8).save(masks.join("a.png")).expect("written");
    image::RgbImage::new(8, 8).save(images.join("b.png")).expect("written");
    image::GrayImage::new(8, 8).save(elsewhere.join("b.png")).expect("written");
    // A mask elsewhere, an image elsewhere, and one that leads to another of the same folder.
    symlink(elsewhere.join("b.png"), masks.join("b.png")).expect("linked");
    symlink(elsewhere.join("a.png"), images.join("c.png")).expect("linked");
    symlink(images.join("a.png"), images.join("d.png")).expect("linked");
    for name in ["c.png", "d.png"] {
        image::GrayImage::new(8, 8).save(masks.join(name)).expect("written");
    }
    let gallery = Gallery::of_folder(&images, Some(&masks)).expect("pairs");
    let page = Page::start(&Settings::default(), Fake::default(), Library::new(gallery));
    for (key, status) in [("g0", 200), ("g1", 403), ("g2", 403), ("g3", 200)] {
        for path in ["", "/image.png", "/thumbnail.jpg", "/truth"] {
            let reply = page.get(&format!("/api/images/{key}{path}"));
            assert_eq!(reply.status, status, "{key}{path}");
            if status == 403 {
                let said = reply.error();
                assert!(said.contains("a link leads out of") && said.contains(".png"), "{said}");
            }
        }
    }
    page.post("/api/images/g1/encoding", &Value::Null);
    let failed = page.until("g1", "failed");
    assert!(
        failed["reason"].as_str().is_some_and(|why| why.contains("a link leads out of")),
        "{failed}"
    );

    // A whole data set that is a link below the root: nothing of it could be shown.
    let said = Gallery::of_folder(&elsewhere, Some(&masks)).expect("no link here");
    assert_eq!(said.names(), ["a", "b"]);
    let all = outer.path().join("links");
    std::fs::create_dir(&all).expect("made");
    symlink(images.join("a.png"), all.join("a.png")).expect("linked");
    let refused = Gallery::of_folder(&all, Some(&masks)).expect_err("all are links");
    assert!(refused.to_string().contains("name the folder where the files lie"), "{refused}");
}

fn png(seed: u8) -> Vec<u8> {
    let mut png = Vec::new();
    image::RgbImage::from_fn(40, 30, |x, y| image::Rgb([x as u8, y as u8, seed]))
        .write_to(&mut std::io::Cursor::new(&mut png), image::ImageFormat::Png)
        .expect("encoded");
    png
}

#[test]
fn dropped_images_are_bounded_together_and_none_in_use_makes_room() {
    let gallery = Gallery::of_data("phantom", "test", None).expect("generated");
    let library = Library::new(gallery).with_upload_bytes(3 * 4096);
    let page = Page::start(&Settings::default(), Fake::default(), library);
    let upload = |seed: u8| page.send("POST", "/api/uploads?name=photo.png", &[], &png(seed));
    let first = upload(1).json()["key"].as_str().expect("a name").to_owned();
    let mut refused = (2..=9).map(upload).find(|reply| reply.status != 200).expect("no room");
    assert_eq!(refused.status, 429);
    assert!(
        refused.error().contains("images that were dropped in the last 30 minutes"),
        "{}",
        refused.error()
    );
    assert_eq!(page.get(&format!("/api/images/{first}")).status, 200, "the first is still there");
    // The same image again needs no room.
    refused = upload(1);
    assert_eq!(refused.status, 200, "{}", refused.text());
}

#[test]
fn images_that_are_being_sent_are_bounded_together() {
    let limits = Limits { upload_bytes: 1 << 20, incoming_bytes: 1536 << 10, ..Limits::default() };
    let page = Page::of(&limited(limits), Fake::default());
    let head = |length: usize| {
        format!(
            "POST /api/uploads?name=a.png HTTP/1.1\r\nhost: {}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n",
            page.address
        )
    };
    let mut slow = page.connect();
    slow.write_all(head(1 << 20).as_bytes()).expect("sent");
    let second = || page.send("POST", "/api/uploads?name=a.png", &[], &vec![0; 1 << 20]);
    let refused = (0..500).map(|_| second()).find(|reply| reply.status == 429).expect("no room");
    assert!(refused.error().contains("being sent already"), "{}", refused.error());
    // A small one still fits; and the other does when the first has ended.
    assert_eq!(page.send("POST", "/api/uploads?name=a.png", &[], &png(1)).status, 200);
    drop(slow);
    let said = (0..500).map(|_| second()).find(|reply| reply.status != 429).expect("room again");
    assert_eq!(said.status, 422, "no image, but it was read");
    let large = page.send("POST", "/api/uploads?name=a.png", &[], &vec![0; 2 << 20]);
    assert_eq!((large.status, large.error().as_str()), (413, "the file has more than 1 MiB"));
}

#[test]
fn the_queue_of_encodings_is_bounded_and_takes_only_images_that_there_are() {
    let gate = Arc::new(Gate::default());
    let page =
        Page::of(&Settings::default(), Fake { blocks: Some(gate.clone()), ..Fake::default() });
    let join = |key: &str| page.post(&format!("/api/images/{key}/encoding"), &Value::Null);
    for unknown in ["g100", "u0", "x", "g-1"] {
        let reply = join(unknown);
        assert_eq!(reply.status, 404, "{unknown}");
        assert!(reply.error().contains(unknown), "{}", reply.error());
    }
    assert_eq!(join("g0").status, 200);
    page.until("g0", "encoding");
    for waiting in 1..=32 {
        assert_eq!(join(&format!("g{waiting}")).status, 200, "{waiting}");
    }
    let reply = join("g33");
    assert_eq!(reply.status, 429);
    assert!(reply.error().contains("32 images wait"), "{}", reply.error());
    // One that waits already takes no other place, but each page that waits for it a ticket.
    let refused = (33..1000).map(|_| join("g1")).find(|reply| reply.status != 200).expect("an end");
    assert_eq!(refused.status, 429);
    assert!(refused.error().contains("256 pages wait"), "{}", refused.error());
    gate.open(usize::MAX / 2);
}

#[test]
fn prompts_that_wait_are_bounded() {
    let gate = Arc::new(Gate::default());
    let limits = Limits { waiting_prompts: 1, ..Limits::default() };
    let page = Page::of(&limited(limits), Fake { answers: Some(gate.clone()), ..Fake::default() });
    page.encode("g0");
    let body = json!({ "image": "g0", "method": 0,
        "points": [{ "x": 1.0, "y": 1.0, "label": "foreground" }] });
    std::thread::scope(|scope| {
        let all: Vec<_> =
            (0..6).map(|_| scope.spawn(|| page.post("/api/answers", &body))).collect();
        while gate.waiting.load(Ordering::SeqCst) == 0 {
            std::thread::sleep(Duration::from_millis(2));
        }
        // All have come by then, and only one is answered and one waits.
        std::thread::sleep(Duration::from_millis(300));
        gate.open(usize::MAX / 2);
        let replies: Vec<_> = all.into_iter().map(|one| one.join().expect("answered")).collect();
        let count = |status| replies.iter().filter(|reply| reply.status == status).count();
        assert_eq!((count(200), count(429)), (2, 4));
        let refused = replies.iter().find(|reply| reply.status == 429).expect("one");
        assert!(refused.error().contains("too many prompts wait"), "{}", refused.error());
    });
}

#[test]
fn a_connection_that_ends_for_its_age_ends_after_the_answer() {
    let gate = Arc::new(Gate::default());
    let limits = Limits { connection_time: Duration::from_millis(300), ..Limits::default() };
    let page = Page::of(&limited(limits), Fake { answers: Some(gate.clone()), ..Fake::default() });
    page.encode("g0");
    let body = json!({ "image": "g0", "method": 0,
        "points": [{ "x": 1.0, "y": 1.0, "label": "foreground" }] })
    .to_string();
    let mut stream = page.connect();
    let head = format!(
        "POST /api/answers HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        page.address,
        body.len()
    );
    stream.write_all(head.as_bytes()).expect("sent");
    stream.write_all(body.as_bytes()).expect("sent");
    // Longer than a connection may stay.
    std::thread::sleep(Duration::from_millis(800));
    gate.open(1);
    // It is read to the end: the connection was to stay, and is closed all the same.
    let reply = Reply::read(stream);
    assert_eq!(reply.status, 200);
    assert!(reply.json()["mask"].is_object());
}

#[test]
fn bodies_and_pixels_are_bounded_and_a_bad_image_is_explained() {
    let limits = Limits { upload_bytes: 100_000, body_bytes: 2000, ..Limits::default() };
    let page = Page::of(&limited(limits), Fake::default());
    let upload = |bytes: &[u8]| page.send("POST", "/api/uploads?name=photo.png", &[], bytes);
    assert_eq!(upload(&vec![0; 200_000]).status, 413);
    let long = json!({ "image": "g0", "method": 0, "points": vec![json!({}); 3000] });
    assert_eq!(page.post("/api/answers", &long).status, 413);

    // A bitmap whose header asks for 60,000 x 60,000 pixels.
    let mut huge = b"BM\x36\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0".to_vec();
    huge.extend(60_000_i32.to_le_bytes());
    huge.extend(60_000_i32.to_le_bytes());
    huge.extend([1, 0, 24, 0]);
    huge.extend([0; 24]);
    let reply = upload(&huge);
    assert_eq!(reply.status, 422);
    assert!(reply.error().contains("60000"), "{}", reply.error());

    let mut png = Vec::new();
    let picture = image::RgbImage::from_fn(40, 30, |x, y| image::Rgb([x as u8, y as u8, 9]));
    picture
        .write_to(&mut std::io::Cursor::new(&mut png), image::ImageFormat::Png)
        .expect("encoded");
    for bad in [&b"no image"[..], b"", &png[..png.len() / 2]] {
        let reply = upload(bad);
        assert_eq!(reply.status, 422);
        assert!(reply.error().contains("photo.png"), "{}", reply.error());
    }
    let added = upload(&png).json();
    assert_eq!((&added["width"], &added["height"]), (&json!(40), &json!(30)));
    let key = added["key"].as_str().expect("a name");
    let again = page.get(&format!("/api/images/{key}/image.png"));
    assert_eq!(image::load_from_memory(&again.body).expect("a picture").to_rgb8(), picture);
}

#[test]
fn prompts_that_make_no_sense_are_refused_in_words() {
    let page = Page::of(&Settings::default(), Fake::default());
    let ask = |body: Value| page.post("/api/answers", &body);
    let point = json!({ "x": 1.0, "y": 1.0, "label": "foreground" });
    let early = ask(json!({ "image": "g0", "method": 0, "points": [point] }));
    assert_eq!(early.status, 409, "not encoded yet");
    page.encode("g0");
    assert_eq!(ask(json!({ "image": "g0", "method": 0, "points": [point] })).status, 200);
    for (body, what) in [
        (json!({ "image": "g0", "method": 9, "points": [point] }), "no method 9"),
        (json!({ "image": "g0", "method": 0 }), "no prompt"),
        (json!({ "image": "g0", "method": 0, "points": vec![point.clone(); 300] }), "300 points"),
    ] {
        let reply = ask(body);
        assert_eq!(reply.status, 422);
        assert!(reply.error().contains(what), "{}", reply.error());
    }
    assert_eq!(ask(json!({ "image": "g0", "method": 0, "pints": [] })).status, 422);
    let form = page.send("POST", "/api/answers", &[("content-type", "text/plain")], b"{}");
    assert_eq!(form.status, 415, "what a form of another page can send");
}

#[test]
fn requests_at_once_and_their_time_are_bounded() {
    let gate = Arc::new(Gate::default());
    let limits = Limits { requests: 2, time: Duration::from_millis(700), ..Limits::default() };
    let fake = Fake { answers: Some(gate.clone()), ..Fake::default() };
    let page = Page::of(&limited(limits), fake);
    page.encode("g0");
    let body = json!({ "image": "g0", "method": 0,
        "points": [{ "x": 1.0, "y": 1.0, "label": "foreground" }] });
    std::thread::scope(|scope| {
        let slow: Vec<_> =
            (0..2).map(|_| scope.spawn(|| page.post("/api/answers", &body).status)).collect();
        while gate.waiting.load(Ordering::SeqCst) == 0 {
            std::thread::sleep(Duration::from_millis(2));
        }
        // The second waits for its turn, but is let in: until then this is answered.
        let refused = (0..200).map(|_| page.get("/api/session")).find(|reply| reply.status == 503);
        let refused = refused.expect("the third of two");
        assert_eq!(refused.header("retry-after"), Some("1"));
        for one in slow {
            assert_eq!(one.join().expect("answered"), 408);
        }
    });
    gate.open(usize::MAX);
    assert_eq!(page.post("/api/answers", &body).status, 200, "it goes on");

    // A body that does not come.
    let mut stream = page.connect();
    let head = format!(
        "POST /api/answers HTTP/1.1\r\nhost: {}\r\nconnection: close\r\ncontent-type: application/json\r\n\
         content-length: 100\r\n\r\n{{",
        page.address
    );
    stream.write_all(head.as_bytes()).expect("sent");
    assert_eq!(Reply::read(stream).status, 408);
}

#[test]
fn connections_beyond_the_limit_wait_and_are_answered_later() {
    let page = Page::of(&limited(Limits { connections: 2, ..Limits::default() }), Fake::default());
    let idle: Vec<_> = (0..2).map(|_| page.connect()).collect();
    // Long enough for both to be taken.
    std::thread::sleep(Duration::from_millis(200));
    let third = page.connect();
    third.set_read_timeout(Some(Duration::from_millis(400))).expect("a timeout");
    let mut third = third;
    let head = format!("GET / HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", page.address);
    third.write_all(head.as_bytes()).expect("sent");
    let mut byte = [0];
    assert!(std::io::Read::read(&mut third, &mut byte).is_err(), "answered beyond the limit");
    drop(idle);
    third.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout");
    assert_eq!(Reply::read(third).status, 200);
}

fn files_below(folder: &Path) -> Vec<String> {
    let mut names = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).expect("a folder") {
            let path = entry.expect("an entry").path();
            match path.is_dir() {
                true => folders.push(path),
                false => {
                    names.push(path.strip_prefix(folder).expect("below").display().to_string());
                }
            }
        }
    }
    names.sort();
    names
}

#[test]
fn nothing_is_written_but_into_the_folder_for_exports() {
    let outer = tempfile::tempdir().expect("a folder");
    let images = outer.path().join("images");
    std::fs::create_dir(&images).expect("made");
    image::RgbImage::new(20, 16).save(images.join("a b.png")).expect("written");
    let library = || Library::new(Gallery::of_folder(&images, None).expect("an image"));
    let body = json!({ "image": "g0", "method": 0, "box": [1.0, 1.0, 9.0, 9.0],
        "points": [{ "x": 10.0, "y": 8.0, "label": "foreground" }] });
    let exports = ["mask.png", "prompts.json", "panel/svg", "panel/png", "panel/pdf"];
    let content = |what: &str| match what.starts_with("panel") {
        true => json!({ "cells": [body] }),
        false => body.clone(),
    };

    let page = Page::start(&Settings::default(), Fake::default(), library());
    page.encode("g0");
    for what in exports {
        let path = format!("/api/exports/{what}");
        let sent = page.post(&path, &content(what));
        assert_eq!(sent.status, 200, "{what}: {}", sent.text());
        let disposition = sent.header("content-disposition").expect("a name");
        assert!(disposition.starts_with("attachment; filename=\"a_b-"), "{disposition}");
        assert_eq!(page.post(&format!("{path}?save=true"), &content(what)).status, 403, "{what}");
    }
    drop(page);
    assert_eq!(files_below(outer.path()), ["images/a b.png"]);

    let folder = outer.path().join("export");
    let settings = Settings { export: Some(folder), ..Settings::default() };
    let page = Page::start(&settings, Fake::default(), library());
    page.encode("g0");
    for what in exports {
        let saved = page.post(&format!("/api/exports/{what}?save=true"), &content(what));
        assert_eq!(saved.status, 200, "{what}: {}", saved.text());
    }
    drop(page);
    let expected = [
        "export/a_b-mask.png",
        "export/a_b-panel.pdf",
        "export/a_b-panel.png",
        "export/a_b-panel.svg",
        "export/a_b-prompts.json",
        "images/a b.png",
    ];
    assert_eq!(files_below(outer.path()), expected);
}
