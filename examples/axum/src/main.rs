//! The Django project of `examples/django_project` below `/library`, beside routes in Rust.
//!
//! `examples/prepare.sh django_project && cargo run -p axum-example` serves it on <http://127.0.0.1:8000/>; another
//! address is the argument.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use axum::{Router, routing::get};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tower_http::{services::ServeDir, timeout::TimeoutLayer};
use wsgi_core::config::{Limits, Mode};
use wsgi_core::python::{Gateway, GatewaySettings, Location};
use wsgi_hyper::{StderrLog, WsgiService};

/// Returns the routes: a router whose last route is a Python application. Any tower layer can be added around it.
fn routes(gateway: &Arc<Gateway>) -> Result<Router, Box<dyn Error>> {
    let django = WsgiService::builder(gateway, &Location::new("demo.wsgi".parse()?)).stripped_prefix("/library");
    Ok(Router::new()
        .route("/", get(|| async { "This is axum, and the library is Django: /library/\n" }))
        .nest_service("/library/static", ServeDir::new(format!("{ROOT}/target/django_project/static")))
        .nest_service("/library", django.build())
        // No limit on concurrent requests: slow uploads would use it up, and the gateway limits requests itself.
        .layer(TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, Duration::from_secs(30))))
}

/// Root of the repository.
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8000".to_owned());
    let listener = TcpListener::bind(&address).await.map_err(|error| format!("cannot listen on {address}: {error}"))?;
    // Installed before Python starts: Python would handle SIGINT itself otherwise.
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);

    let mut settings = GatewaySettings::new(Mode::Threads(Limits::new(4)));
    settings.python.home = Some(format!("{ROOT}/target/venv/django").into());
    settings.python.path = vec![format!("{ROOT}/examples/django_project").into()];
    let gateway = Arc::new(Gateway::start(&settings, Arc::new(StderrLog::default()))?);

    println!("Serving Django and axum on http://{}/", listener.local_addr()?);
    let end = async move {
        tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
    };
    axum::serve(listener, routes(&gateway)?).with_graceful_shutdown(end).await?;
    wsgi_hyper::shutdown(&gateway, Duration::from_secs(5)).await;
    Ok(())
}
