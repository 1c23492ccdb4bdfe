//! A page that draws with uPlot what Freshet's page draws with its own pictures.

use std::fs;
use std::path::Path;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::response::Html;
use axum::routing::get;
use serde_json::Value;

const HTML: &str = include_str!("uplot.html");

/// The opponent's page, and uPlot as its package brings it.
pub fn files(uplot: &Path) -> Result<Router, String> {
    let mut router = Router::new().route("/", get(|| async { Html(HTML) }));
    for (name, kind) in [("uPlot.iife.min.js", "text/javascript"), ("uPlot.min.css", "text/css")] {
        let path = uplot.join("dist").join(name);
        let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        router = router.route(
            &format!("/{name}"),
            get(move || async move { ([(CONTENT_TYPE, kind)], text) }),
        );
    }
    Ok(router)
}

/// Of the package.
pub fn version(uplot: &Path) -> Result<String, String> {
    let path = uplot.join("package.json");
    let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let package: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    package["version"]
        .as_str()
        .map(str::to_owned)
        .ok_or_else(|| format!("{}: no version", path.display()))
}
