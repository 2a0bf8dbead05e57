//! The objects that an application gets: `start_response`, the write callable, `wsgi.input` and `wsgi.errors`.

mod errors;
mod input;
mod start_response;

use crate::python::attach::data::{HeapType, Types};
use crate::python::attach::token::Token;
use crate::python::objects::raise::Raised;

impl Types {
    pub(crate) fn new(token: Token<'_>) -> Result<Self, Raised> {
        let seekable_input = HeapType::new(token, &input::SEEKABLE_BLUEPRINT)?;
        let empty_input = seekable_input.instance(token, None)?.hold();
        Ok(Self {
            start_response: HeapType::new(token, &start_response::BLUEPRINT)?,
            write: HeapType::new(token, &start_response::WRITE_BLUEPRINT)?,
            errors: HeapType::new(token, &errors::BLUEPRINT)?,
            input: HeapType::new(token, &input::BLUEPRINT)?,
            seekable_input,
            empty_input,
        })
    }
}
