//! Lines for people, on standard output and beside it. Who stops reading, such as `head`, has what was wanted: what
//! can't be written is left out, and the work goes on to its own end and exit code.

/// A line of what was asked for.
macro_rules! say {
    ($($words:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stdout(), $($words)*);
    }};
}

/// A line beside it, on standard error.
macro_rules! say_aside {
    ($($words:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), $($words)*);
    }};
}

pub(crate) use {say, say_aside};
