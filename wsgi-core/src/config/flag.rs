//! The switches: directives that are `on` or `off`, and apply to the requests of their block.

/// A switch of [`LevelSettings`](super::LevelSettings). All are off by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Flag {
    /// `wsgi_preload`: the application is loaded when a worker starts.
    Preload,
    /// `wsgi_pass_authorization`: applications see Authorization and Proxy-Authorization.
    PassAuthorization,
    /// `wsgi_enable_subinterpreters`: each script has a separate interpreter.
    Subinterpreters,
    /// `wsgi_use_main_interpreter`: applications of this block run in the main interpreter nevertheless.
    MainInterpreter,
    /// `wsgi_allow_ranges`: the host may answer with a part of the body.
    AllowRanges,
    /// `wsgi_optimize_send_headers`: the first item commits the head, even an empty one.
    OptimizeSendHeaders,
    /// `wsgi_output_buffering`: blocks may be joined.
    OutputBuffering,
    /// `wsgi_write_buffering`: blocks given to the write callable are collected until the application returns.
    WriteBuffering,
    /// `wsgi_script_reloading`: each request checks whether the script has changed.
    ScriptReloading,
    /// `wsgi_strict`: headers that only the server may send raise in `start_response`, instead of being left out.
    Strict,
}

impl Flag {
    /// All switches, each at the index of its number.
    pub const ALL: &'static [Self] = &[
        Self::Preload,
        Self::PassAuthorization,
        Self::Subinterpreters,
        Self::MainInterpreter,
        Self::AllowRanges,
        Self::OptimizeSendHeaders,
        Self::OutputBuffering,
        Self::WriteBuffering,
        Self::ScriptReloading,
        Self::Strict,
    ];
}
