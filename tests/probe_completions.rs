//! Proves that the scripts of `etcd-probe completions` offer values where values are meant, and files nowhere else:
//! by the shells themselves, where they are installed.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

mod common;

use std::{fs, process::Command};

use common::{probe::Probe, temporary_folder};

fn script(shell: &str) -> String {
    Probe::at("http://127.0.0.1:1").ok(&["completions", shell]).out
}

/// What a shell prints that is given the script and these lines, in a folder with one file; none without the shell.
fn printed(shell: &str, lines: &str) -> Option<String> {
    let folder = temporary_folder();
    fs::write(folder.path().join("script"), script(shell)).unwrap();
    let mut command = Command::new(shell);
    command.args(["-c", &format!("source ./script\n{lines}")]).current_dir(folder.path());
    match command.env("HOME", folder.path()).output() {
        Ok(output) => Some(String::from_utf8(output.stdout).unwrap()),
        Err(error) => {
            println!("skipped: {shell} can't be run: {error}");
            None
        }
    }
}

#[test]
fn completions_are_scripts_of_each_shell() {
    for (shell, words) in
        [("bash", "complete -F"), ("zsh", "#compdef etcd-probe"), ("fish", "complete -c etcd-probe")]
    {
        let script = script(shell);
        assert!(script.contains(words) && script.contains("move-leader"), "{shell}: {script}");
    }
}

/// The words that fish offers after each of these lines.
fn fish(lines: &[&str]) -> Option<Vec<Vec<String>>> {
    let asked: Vec<String> = lines.iter().map(|line| format!("complete -C '{line}'; echo ══")).collect();
    let printed = printed("fish", &asked.join("\n"))?;
    let word = |line: &str| line.split('\t').next().unwrap().to_owned();
    Some(printed.split("══\n").map(|offered| offered.lines().map(word).collect()).collect())
}

#[test]
fn fish_offers_values() {
    let cases: [(&str, &[&str]); 8] = [
        ("etcd-probe -o ", &["hex", "json", "jsonl", "proto", "text"]),
        ("etcd-probe range -o ", &["hex", "json", "jsonl", "proto", "text"]),
        ("etcd-probe alarm ", &["disarm", "list", "raise"]),
        ("etcd-probe alarm raise ", &["corrupt", "nospace"]),
        ("etcd-probe completions ", &["bash", "elvish", "fish", "powershell", "zsh"]),
        ("etcd-probe bench ", &["put", "range", "txn", "watch"]),
        ("etcd-probe range --member ", &[]),
        ("etcd-probe range ", &[]),
    ];
    let Some(offered) = fish(&cases.map(|(line, _)| line)) else { return };
    for ((line, values), mut offered) in cases.into_iter().zip(offered) {
        offered.sort();
        assert_eq!(offered, values, "{line}");
    }
}

#[test]
fn fish_offers_commands_to_help_and_files_where_they_are_meant() {
    let lines = ["etcd-probe help ", "etcd-probe decode ", "etcd-probe txn --file ", "etcd-probe --cacert "];
    let Some(offered) = fish(&lines) else { return };
    assert!(offered[0].contains(&"status".to_owned()), "{offered:?}");
    for (line, offered) in lines.iter().zip(&offered) {
        let is_of_files = !line.contains("help");
        assert_eq!(offered.contains(&"script".to_owned()), is_of_files, "{line}: {offered:?}");
    }
}

#[test]
fn bash_offers_files_only_where_they_are_meant() {
    let after = |words: &str, count: usize, last: &str| {
        format!(
            "COMP_WORDS=(etcd-probe {words} s); COMP_CWORD={count}; _etcd__probe etcd-probe s {last} 2>/dev/null; \
             echo \"${{COMPREPLY[*]}}\""
        )
    };
    let lines = [after("range --member", 3, "--member"), after("txn --file", 3, "--file")].join("\n");
    let Some(printed) = printed("bash", &lines) else { return };
    assert_eq!(printed, "s\nscript\n");
    let script = script("bash");
    let without_files = "compopt +o bashdefault +o default 2>/dev/null\n            opts=";
    for (command, has_files) in
        [("range", false), ("bench", false), ("lease__subcmd__grant", false), ("decode", true)]
    {
        let head = format!("        etcd__probe__subcmd__{command})\n            ");
        let section = script.split(&head).nth(1).unwrap_or_else(|| panic!("no {command}"));
        assert_eq!(!section.starts_with(without_files), has_files, "{command}");
    }
}

#[test]
fn zsh_offers_files_only_where_they_are_meant() {
    let script = script("zsh");
    assert!(!script.contains(":_default'"), "{script}");
    assert!(script.contains("'--member=[A member by") && script.contains(":FILE:_files'"), "{script}");
}
