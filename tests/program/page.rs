//! The page within the binary: compressed, cached, guarded.

use std::collections::BTreeSet;
use std::io::Read;

use base64::Engine as _;
use freshet_tests::http::{Answer, request, send};
use freshet_tests::program::Program;
use http::Method;
use sha2::{Digest, Sha256};

/// What the page's document refers to on its own host.
fn references(html: &str) -> BTreeSet<String> {
    let ends = ['"', '\'', ' ', '>', ')'];
    let mut found = BTreeSet::new();
    for mark in ["src=", "href=", "from ", "module_or_path: "] {
        for part in html.split(mark).skip(1) {
            let reference = part.trim_start_matches(['"', '\'']);
            let reference = reference.split(ends).next().unwrap();
            // A link for a person, to what is no file of the page, is looked at elsewhere.
            if reference.starts_with('/') && !reference.starts_with("/api/") && reference != "/metrics" {
                found.insert(reference.to_owned());
            }
        }
    }
    found
}

async fn fetch(program: &Program, path: &str, headers: &[(&str, &str)]) -> Answer {
    send(program.address, request(Method::GET, path, headers, "")).await
}

#[tokio::test]
async fn the_page_is_served_in_the_form_that_the_browser_takes() {
    let program = Program::start(&[]).await;
    let plain = fetch(&program, "/", &[]).await;
    assert_eq!(
        (plain.status, plain.header("content-type")),
        (200, "text/html; charset=utf-8")
    );
    let references = references(plain.text());
    for ending in [".js", ".wasm", ".css", ".svg"] {
        assert!(
            references.iter().any(|path| path.ends_with(ending)),
            "no {ending} among {references:?}"
        );
    }
    for path in references.iter().map(String::as_str).chain(["/"]) {
        let plain = fetch(&program, path, &[]).await;
        assert_eq!((plain.status, plain.header("content-encoding")), (200, ""), "{path}");
        assert_eq!(plain.header("vary").to_ascii_lowercase(), "accept-encoding", "{path}");
        let mut sizes = Vec::new();
        for (accept, coding) in [
            ("gzip, deflate", "gzip"),
            ("gzip, deflate, br, zstd", "br"),
            ("br;q=1.0, gzip;q=0.8", "br"),
        ] {
            let packed = fetch(&program, path, &[("accept-encoding", accept)]).await;
            assert_eq!(packed.status, 200, "{path}");
            let given = packed.header("content-encoding");
            // What does not get smaller is sent as it is.
            assert!(
                given == coding || (given.is_empty() && packed.body == plain.body),
                "{path}: {given:?}"
            );
            assert_eq!(unpack(given, &packed.body), plain.body, "{path}");
            assert_eq!(packed.header("content-type"), plain.header("content-type"), "{path}");
            sizes.push(packed.body.len());
        }
        if path.ends_with(".wasm") {
            assert_eq!(plain.header("content-type"), "application/wasm");
            assert!(
                sizes[1] < sizes[0] && sizes[0] < plain.body.len() / 2,
                "{sizes:?} of {}",
                plain.body.len()
            );
        }
        for refuses in ["br;q=0, gzip;q=0", "identity", "identity;q=1, *;q=0"] {
            let answer = fetch(&program, path, &[("accept-encoding", refuses)]).await;
            assert_eq!(answer.header("content-encoding"), "", "{path} {refuses}");
        }
        let head = send(program.address, request(Method::HEAD, path, &[], "")).await;
        assert_eq!((head.status, head.body.len()), (200, 0), "{path}");
    }
}

fn unpack(coding: &str, bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    match coding {
        "br" => brotli_decompressor::Decompressor::new(bytes, 4096).read_to_end(&mut plain),
        "gzip" => flate2::read::GzDecoder::new(bytes).read_to_end(&mut plain),
        _ => return bytes.to_vec(),
    }
    .unwrap();
    plain
}

#[tokio::test]
async fn hashed_names_are_kept_for_ever_and_the_document_never_without_asking() {
    let program = Program::start(&[]).await;
    let document = fetch(&program, "/", &[]).await;
    assert_eq!(document.header("cache-control"), "no-cache");
    let is_hashed = |path: &str| {
        path.split(['-', '.', '_', '/'])
            .any(|part| part.len() >= 15 && part.bytes().all(|b| b.is_ascii_hexdigit()))
    };
    let references = references(document.text());
    assert!(references.iter().any(|path| is_hashed(path)));
    for path in references.iter().map(String::as_str).chain(["/", "/index.html"]) {
        let answer = fetch(&program, path, &[]).await;
        let cache = answer.header("cache-control");
        let expected = if is_hashed(path) {
            "public, max-age=31536000, immutable"
        } else {
            "no-cache"
        };
        assert_eq!(cache, expected, "{path}");
        let etag = answer.header("etag");
        assert!(etag.starts_with('"') && etag.len() > 10, "{path}: {etag:?}");
        for known in [
            etag.to_owned(),
            format!("W/{etag}"),
            format!("\"x\", {etag}"),
            "*".to_owned(),
        ] {
            let again = fetch(&program, path, &[("if-none-match", &known)]).await;
            assert_eq!(
                (again.status, again.body.len(), again.header("etag")),
                (304, 0, etag),
                "{path} {known}"
            );
            assert_eq!(again.header("cache-control"), cache, "{path}");
        }
        let other = fetch(&program, path, &[("if-none-match", "\"x\"")]).await;
        assert_eq!(other.body, answer.body, "{path}");
    }
}

#[tokio::test]
async fn the_page_may_run_its_own_code_and_no_other() {
    let program = Program::start(&[]).await;
    let document = fetch(&program, "/", &[]).await;
    let policy = document.header("content-security-policy");
    for unsafe_word in [
        "unsafe-inline",
        "'unsafe-eval'",
        "unsafe-hashes",
        "*",
        "http:",
        "https:",
    ] {
        assert!(!policy.contains(unsafe_word), "{unsafe_word} in {policy}");
    }
    let directive = |name: &str| {
        let mut directives = policy.split(';').map(str::trim);
        directives
            .find_map(|directive| directive.strip_prefix(&format!("{name} ")))
            .unwrap_or_else(|| panic!("no {name} in {policy}"))
    };
    assert_eq!(directive("default-src"), "'none'");
    assert_eq!(directive("connect-src"), "'self'");
    assert_eq!(directive("frame-ancestors"), "'none'");
    assert_eq!(directive("base-uri"), "'none'");
    let mut scripts: Vec<String> = directive("script-src").split(' ').map(str::to_owned).collect();
    scripts.sort_unstable();
    let mut expected = vec!["'self'".to_owned(), "'wasm-unsafe-eval'".to_owned()];
    let inline: Vec<&str> = document
        .text()
        .split("<script")
        .skip(1)
        .map(|part| part.split_once('>').unwrap())
        .filter(|(attributes, _)| !attributes.contains("src="))
        .map(|(_, rest)| rest.split_once("</script>").unwrap().0)
        .collect();
    assert_eq!(inline.len(), 1, "Trunk's loader and nothing else");
    for script in inline {
        expected.push(format!(
            "'sha256-{}'",
            base64::engine::general_purpose::STANDARD.encode(Sha256::digest(script))
        ));
    }
    expected.sort();
    assert_eq!(scripts, expected);
    assert!(
        !document.text().contains(" style=") && !document.text().contains(" onload="),
        "nothing else is inline"
    );
}

#[tokio::test]
async fn the_page_is_isolated_from_other_origins() {
    let program = Program::start(&[]).await;
    let document = fetch(&program, "/", &[]).await;
    for path in references(document.text()).iter().map(String::as_str).chain(["/"]) {
        let answer = fetch(&program, path, &[]).await;
        assert_eq!(answer.header("cross-origin-opener-policy"), "same-origin", "{path}");
        assert_eq!(answer.header("cross-origin-embedder-policy"), "require-corp", "{path}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(answer.header("referrer-policy"), "no-referrer", "{path}");
    }
}

#[tokio::test]
async fn nothing_else_is_served_as_a_page() {
    let program = Program::start(&[]).await;
    for path in [
        "/index.htm",
        "/Cargo.toml",
        "/fonts/",
        "/../main.rs",
        "/api/v1/",
        "//",
        "/index.html/",
    ] {
        assert_eq!(fetch(&program, path, &[]).await.problem().status, 404, "{path}");
    }
}
