//! Temporary file for response blocks that cannot be sent yet while the application continues.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use wsgi_core::host::FilePart;
use wsgi_core::python::Location;

/// Largest size of the file of one response, in bytes. nginx has the same limit for a proxied response
/// (`proxy_max_temp_file_size`).
const LONGEST: u64 = 1 << 30;

/// Blocks of one response that were written to a temporary file. The file is created with the first block, has no name,
/// and is freed with its last part.
#[derive(Default)]
pub(crate) struct Kept {
    file: Option<Arc<File>>,
    len: u64,
}

impl Kept {
    /// Whether the file has reached its largest size.
    pub(crate) fn is_full(&self) -> bool {
        self.len >= LONGEST
    }

    /// Appends a block to the file. Blocks on disk I/O.
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
