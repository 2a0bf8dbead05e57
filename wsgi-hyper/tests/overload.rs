//! More requests than the queue holds.

#[path = "common/mod.rs"]
mod common;

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use common::{gateway, logged};
use http::Request;
use http_body::{Body, Frame};
use http_body_util::channel::Channel;
use http_body_util::{BodyExt, Empty};
use tower::ServiceExt;
use wsgi_core::config::Limits;
use wsgi_hyper::ResponseFuture;

/// A body that is completely available.
struct Whole(Arc<Bytes>, bool);

impl Body for Whole {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let first = !std::mem::replace(&mut self.1, true);
        Poll::Ready(first.then(|| Ok(Frame::data((*self.0).clone()))))
    }
}

/// Polls a request: it takes the available part of its body, and goes to the gateway.
fn begin(response: &mut ResponseFuture) {
    assert!(Pin::new(response).poll(&mut Context::from_waker(Waker::noop())).is_pending());
}

#[tokio::test]
async fn requests_beyond_the_queue_get_503_at_once_and_those_that_are_given_up_leave_it_with_their_bodies() {
    let gateway = gateway(Limits::new(1).max_threads(1).queue(1));
    let (builder, lines) = logged(
        gateway,
        r#"
def application(environ, start_response):
    print("reading", file=environ["wsgi.errors"])
    body = environ["wsgi.input"].read()
    start_response("200 OK", [])
    return [b"read " + body]
"#,
    );
    let service = builder.build();
    let (mut client, body) = Channel::<Bytes>::new(1);
    client.send_data(Bytes::from_static(b"abc")).await.unwrap();
    let mut running = tower_service::Service::call(&mut service.clone(), Request::post("/").body(body).unwrap());
    begin(&mut running);
    lines.wait_for("reading");
    for _ in 0..10 {
        let left = Arc::new(Bytes::from_static(b"whole"));
        let body = Whole(Arc::clone(&left), false);
        let mut queued = tower_service::Service::call(&mut service.clone(), Request::post("/").body(body).unwrap());
        begin(&mut queued);
        assert_eq!(Arc::strong_count(&left), 2, "the body is there");
        drop(queued);
        assert_eq!(Arc::strong_count(&left), 1, "the body is gone");
    }
    // The call itself begins the request.
    let queued = tower_service::Service::call(&mut service.clone(), Request::new(Empty::<Bytes>::new()));

    let refused = service.oneshot(Request::new(Empty::<Bytes>::new())).await.unwrap();
    assert_eq!((refused.status().as_u16(), refused.headers()["retry-after"].to_str().unwrap()), (503, "1"));
    lines.wait_for("request refused: too many requests are waiting for a thread");

    drop(client);
    for (response, expected) in [(running.await, "read abc"), (queued.await, "read ")] {
        assert_eq!(response.unwrap().into_body().collect().await.unwrap().to_bytes(), expected);
    }
}
