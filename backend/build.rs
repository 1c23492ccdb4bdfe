//! Puts the built page into the binary (feature `page`): each file plain, brotli and gzip, and the page's
//! Content-Security-Policy with the hash of the one inline script that Trunk writes.

use std::path::Path;
use std::{env, fs, io};

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    let out = env::var("OUT_DIR").map_err(io::Error::other)?;
    let code = generate(Path::new(&out))?;
    fs::write(Path::new(&out).join("page.rs"), code)
}

#[cfg(not(feature = "page"))]
fn generate(_: &Path) -> io::Result<String> {
    Ok("const ASSETS: &[Asset] = &[];\nconst PAGE_POLICY: &str = \"default-src 'none'\";\n".to_owned())
}

#[cfg(feature = "page")]
fn generate(out: &Path) -> io::Result<String> {
    page::generate(out)
}

#[cfg(feature = "page")]
mod page {
    use std::fmt::Write as _;
    use std::io::Write as _;
    use std::path::{Path, PathBuf};
    use std::{fs, io};

    use base64::Engine as _;
    use sha2::{Digest, Sha256};

    pub(crate) fn generate(out: &Path) -> io::Result<String> {
        let dist = Path::new("../frontend/dist").canonicalize().map_err(|error| {
            io::Error::other(format!("frontend/dist: {error}; `make release` builds the page first"))
        })?;
        println!("cargo::rerun-if-changed={}", dist.display());
        let mut files = Vec::new();
        list(&dist, &mut files)?;
        files.sort();
        let mut code = String::from("const ASSETS: &[Asset] = &[\n");
        let mut index = None;
        for (number, file) in files.iter().enumerate() {
            let plain = fs::read(file)?;
            let name = file
                .strip_prefix(&dist)
                .map_err(io::Error::other)?
                .to_string_lossy()
                .replace('\\', "/");
            let etag = format!("\\\"{}\\\"", hex(&Sha256::digest(&plain)[..8]));
            let form = |ending: &str, bytes: Vec<u8>| -> io::Result<String> {
                if bytes.len() >= plain.len() {
                    return Ok("None".to_owned());
                }
                let path = out.join(format!("page-{number}.{ending}"));
                fs::write(&path, bytes)?;
                Ok(format!("Some(include_bytes!({:?}))", path))
            };
            let brotli = form("br", brotli(&plain)?)?;
            let gzip = form("gz", gzip(&plain)?)?;
            let (mime, immutable) = (mime(&name)?, is_hashed(&name));
            writeln!(
                code,
                "Asset {{ path: {:?}, mime: {mime:?}, immutable: {immutable}, etag: \"{etag}\", plain: include_bytes!({:?}), brotli: {brotli}, gzip: {gzip} }},",
                format!("/{name}"),
                file
            )
            .map_err(io::Error::other)?;
            if name == "index.html" {
                index = Some(plain);
            }
        }
        let index = index.ok_or_else(|| io::Error::other("frontend/dist has no index.html"))?;
        let index = String::from_utf8(index).map_err(io::Error::other)?;
        writeln!(code, "];\nconst PAGE_POLICY: &str = {:?};", policy(&index)).map_err(io::Error::other)?;
        Ok(code)
    }

    /// Inline scripts run only if their hash stands here.
    fn policy(index: &str) -> String {
        let mut scripts = String::new();
        for part in index.split("<script").skip(1) {
            let Some((attributes, rest)) = part.split_once('>') else {
                continue;
            };
            let Some((script, _)) = rest.split_once("</script>") else {
                continue;
            };
            if !attributes.contains("src=") {
                let hash = base64::engine::general_purpose::STANDARD.encode(Sha256::digest(script));
                scripts.push_str(&format!(" 'sha256-{hash}'"));
            }
        }
        format!(
            "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'{scripts}; style-src 'self'; font-src 'self'; \
             img-src 'self' data:; connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
    }

    fn list(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                list(&path, files)?;
            } else {
                files.push(path);
            }
        }
        Ok(())
    }

    /// Trunk's names: `name-0123456789abcdef.ending`, `name-0123456789abcdef_bg.wasm`.
    fn is_hashed(name: &str) -> bool {
        name.split(['-', '.', '_', '/'])
            .any(|part| (15..=16).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_hexdigit()))
    }

    fn mime(name: &str) -> io::Result<&'static str> {
        Ok(match name.rsplit('.').next() {
            Some("html") => "text/html; charset=utf-8",
            Some("css") => "text/css; charset=utf-8",
            Some("js") => "text/javascript; charset=utf-8",
            Some("wasm") => "application/wasm",
            Some("svg") => "image/svg+xml",
            Some("png") => "image/png",
            Some("ico") => "image/x-icon",
            Some("woff2") => "font/woff2",
            Some("txt") => "text/plain; charset=utf-8",
            Some("json" | "webmanifest") => "application/json",
            _ => {
                return Err(io::Error::other(format!(
                    "frontend/dist/{name}: no media type is known for it"
                )));
            }
        })
    }

    fn brotli(plain: &[u8]) -> io::Result<Vec<u8>> {
        let mut packed = Vec::new();
        let mut writer = brotli::CompressorWriter::new(&mut packed, 1 << 16, 11, 22);
        writer.write_all(plain)?;
        drop(writer);
        Ok(packed)
    }

    fn gzip(plain: &[u8]) -> io::Result<Vec<u8>> {
        let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        writer.write_all(plain)?;
        writer.finish()
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
