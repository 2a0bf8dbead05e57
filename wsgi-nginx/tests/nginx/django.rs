//! Django, whose database connections belong to threads.

use std::thread;
use std::time::Duration;

use crate::harness::{Mode, Site, example_venv, get, wait_for};

const ROWS: usize = 20_000;

const PROJECT: &str = r#"
import os
import django
from django.conf import settings
settings.configure(
    SECRET_KEY="only for this test", ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__,
    DATABASES={"default": {
        "ENGINE": "django.db.backends.sqlite3", "NAME": os.path.join(os.path.dirname(__file__), "db.sqlite3"),
    }},
)
django.setup()

from django.core.wsgi import get_wsgi_application
from django.db import connection, models
from django.http import HttpResponse, StreamingHttpResponse
from django.urls import path

class Row(models.Model):
    text = models.TextField()
    class Meta:
        app_label = "rows"

with connection.cursor() as cursor:
    cursor.execute("CREATE TABLE rows_row (id INTEGER PRIMARY KEY, text TEXT)")
    cursor.execute(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000) "
        "INSERT INTO rows_row SELECT i, hex(zeroblob(1000)) FROM n"
    )
connection.close()

made = 0
def stream():
    global made
    for row in Row.objects.order_by("id").iterator(chunk_size=50):
        made += 1
        yield f"{row.id} {row.text}\n"

urlpatterns = [
    path("stream", lambda request: StreamingHttpResponse(stream())),
    path("count", lambda request: HttpResponse(str(Row.objects.count()))),
    path("made", lambda request: HttpResponse(str(made))),
]
application = get_wsgi_application()
"#;

#[test]
fn blk_5_a_stalled_stream_over_a_query_survives_another_request_with_one_thread() {
    let venv = example_venv("django");
    let nginx = Site::new(Mode::Threads(1))
        .file("project.py", PROJECT)
        .http(&format!("wsgi_python_home {};", venv.display()))
        .listen_options("sndbuf=64k")
        .location("/", "wsgi_pass project.py;")
        .start();
    let mut stalled = nginx.connect();
    stalled.send(get("/stream"));
    assert_eq!(stalled.head().status, 200);
    let made = || nginx.get("/made").ok().parse::<usize>().expect("a number");
    let before = wait_for("the stream to stall", || {
        let before = made();
        thread::sleep(Duration::from_millis(100));
        (made() == before && before > 0).then_some(before)
    });
    assert!(before < ROWS, "the stream did not stall before its end");
    // A request that uses the database and ends. Django then closes the connection of its thread.
    assert_eq!(nginx.get("/count").ok(), ROWS.to_string());
    let mut body = Vec::new();
    while let Some(chunk) = stalled.chunk().filter(|chunk| !chunk.is_empty()) {
        body.extend(chunk);
    }
    let body = String::from_utf8(body).expect("text");
    let numbers: Vec<usize> =
        body.lines().map(|line| line.split(' ').next().and_then(|id| id.parse().ok()).expect("a number")).collect();
    assert!(numbers.iter().copied().eq(1..=ROWS), "{} rows, the last is {:?}", numbers.len(), numbers.last());
    assert!(body.lines().all(|line| line.ends_with(&"0".repeat(2000))));
    assert!(!nginx.stop().contains("Traceback"));
}
