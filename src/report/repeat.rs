//! How to repeat a run: its command line, with the seed that it drew. In goes a run, out comes a line for a
//! shell.

use crate::report::load::Run;

/// What to type.
pub fn command_line(run: &Run) -> String {
    let mut words = vec!["etcd-lab".to_owned()];
    words.extend(run.events.arguments.iter().map(|word| quoted(word)));
    let has_seed = run.events.arguments.iter().any(|word| word == "--seed" || word.starts_with("--seed="));
    if let Some(seed) = run.events.seed.filter(|_| !has_seed) {
        words.extend(["--seed".to_owned(), seed.to_string()]);
    }
    words.join(" ")
}

fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_=./:,@%+".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_shell_would_split_is_quoted() {
        assert_eq!(quoted("--duration=10s"), "--duration=10s");
        assert_eq!(quoted("a b"), "'a b'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted(""), "''");
    }
}
