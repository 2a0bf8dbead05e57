//! The file of a response that cannot leave for now, and whose application goes on.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use wsgi_core::output::FilePart;
use wsgi_core::python::Location;

/// As much of one response is kept, in bytes. nginx keeps as much of a proxied one (`proxy_max_temp_file_size`).
const LONGEST: u64 = 1 << 30;

/// The blocks of one response that were written to a file. The file is made with the first block, has no name, and is gone with its last part.
#[derive(Default)]
pub(crate) struct Kept {
    file: Option<Arc<File>>,
    len: u64,
}

impl Kept {
    /// Whether there is as much as may be kept.
    pub(crate) fn is_full(&self) -> bool {
        self.len >= LONGEST
    }

    /// Writes a block behind the others. Blocks for the disk.
    pub(crate) fn write(&mut self, location: &Location, block: &[u8]) -> io::Result<FilePart> {
        let file = match &self.file {
            Some(file) => file,
            None => self.file.insert(Arc::new(location.temporary_file()?)),
        };
        file.write_all_at(block, self.len)?;
        let part = FilePart { file: Arc::clone(file), start: self.len, len: block.len() as u64 };
        self.len += part.len;
        Ok(part)
    }
}
