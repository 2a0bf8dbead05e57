//! Modes of files that applications create.

use crate::harness::{Mode, Site, in_both_modes};

/// Answers with the umask, and the modes of a directory, a file and a database.
const MAKES_FILES: &str = "
import os, sqlite3, tempfile
def application(environ, start_response):
    with tempfile.TemporaryDirectory() as folder:
        os.mkdir(folder + '/folder')
        open(folder + '/file', 'w').close()
        database = sqlite3.connect(folder + '/database')
        database.execute('create table t (x)')
        database.close()
        modes = ['%o' % (os.stat(f'{folder}/{name}').st_mode & 0o777) for name in ('folder', 'file', 'database')]
    umask = os.umask(0o022)
    os.umask(umask)
    start_response('200 OK', [])
    return [f'{umask:03o}: {chr(32).join(modes)}'.encode()]
";

fn site(mode: Mode) -> Site {
    Site::new(mode).file("app.py", MAKES_FILES).location("/", "wsgi_pass app.py;")
}

#[test]
fn files_of_an_application_have_the_modes_of_the_umask_that_nginx_was_started_with() {
    in_both_modes(|mode| {
        let nginx = site(mode).umask("027").start_in_background();
        assert_eq!(nginx.get("/").ok(), "027: 750 640 640");
        nginx.reload();
        assert_eq!(nginx.get("/").ok(), "027: 750 640 640", "after a reload");
        assert_eq!(site(mode).umask("027").start().get("/").ok(), "027: 750 640 640", "daemon off");
        assert_eq!(site(mode).umask("002").start_in_background().get("/").ok(), "002: 775 664 644");
    });
}

#[test]
fn without_a_umask_files_of_an_application_can_be_written_by_their_owner_only() {
    in_both_modes(|mode| {
        let nginx = site(mode).umask("0").start_in_background();
        assert_eq!(nginx.get("/").ok(), "022: 755 644 644");
        // The new master has inherited umask 0 from the daemon.
        let nginx = site(mode).umask("077").start_in_background();
        nginx.upgrade();
        assert_eq!(nginx.get("/").ok(), "022: 755 644 644", "after an upgrade of the binary");
    });
}
