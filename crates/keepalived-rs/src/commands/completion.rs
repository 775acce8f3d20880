//! `completion`: what a shell needs to complete our command line, from the tables of options, commands and keywords.

use anyhow::bail;
use conf_parser::Code;
use conf_parser::schema::{Kind, schema};

use super::{COMMANDS, Command, print};
use crate::cli;

pub(super) fn run(shell: &str) -> anyhow::Result<u8> {
    print(&match shell {
        "bash" => bash(),
        "zsh" => zsh(),
        "fish" => fish(),
        _ => bail!("completions are for bash, zsh and fish"),
    })?;
    Ok(0)
}

/// The words that may come first, beside options.
const FIRST: &[&str] = &["config", "explain", "completion", "demo", "cleanup", "announce", "lateness", "real-server"];

/// What `explain` knows: every keyword and option of the language that is a plain word, and every code.
fn topics() -> Vec<&'static str> {
    let plain =
        |word: &&str| word.starts_with(|first: char| first.is_ascii_alphanumeric()) && !word.contains(['<', '"', '\'']);
    let rows = schema().rows().filter(|row| row.kind != Kind::Syntax).map(|row| row.keyword);
    let mut topics: Vec<_> = rows.filter(plain).collect();
    topics.sort_unstable();
    topics.dedup();
    topics.extend(Code::ALL.iter().map(|code| code.as_str()));
    topics
}

fn long_options() -> String {
    cli::long_options().map(|name| format!("--{name}")).collect::<Vec<_>>().join(" ")
}

fn flags(command: &Command) -> String {
    let flags = command.flags.iter().map(|flag| format!("--{}", flag.name));
    flags.chain(["--help".to_owned()]).collect::<Vec<_>>().join(" ")
}

fn names() -> String {
    COMMANDS.iter().map(|command| command.name).collect::<Vec<_>>().join(" ")
}

/// The words that the options of all commands take, by option.
fn values() -> Vec<(&'static str, String)> {
    let mut values: Vec<_> = COMMANDS
        .iter()
        .flat_map(|command| command.flags)
        .filter_map(|flag| {
            flag.value.filter(|words| words.contains('|')).map(|words| (flag.name, words.replace('|', " ")))
        })
        .collect();
    values.sort();
    // Of `--format`, the longer list.
    values.reverse();
    values.dedup_by_key(|(name, _)| *name);
    values
}

fn bash() -> String {
    let values: String = values()
        .iter()
        .map(|(name, words)| format!("        --{name}) COMPREPLY=($(compgen -W '{words}' -- \"$word\")); return ;;\n"))
        .collect();
    let commands: String = COMMANDS
        .iter()
        .filter(|command| command.name != "explain")
        .map(|command| format!("            {}) words='{}' ;;\n", command.name, flags(command)))
        .collect();
    format!(
        r#"# bash completion for keepalived-rs
_keepalived_rs() {{
    local word="${{COMP_WORDS[COMP_CWORD]}}" before="${{COMP_WORDS[COMP_CWORD-1]}}" words=''
    COMPREPLY=()
    case "$before" in
{values}    esac
    case "${{COMP_WORDS[1]}}:${{COMP_WORDS[2]}}" in
        explain:*|config:explain) [ "$COMP_CWORD" -gt 1 ] && words='{topics}' ;;
        completion:*) words='bash zsh fish' ;;
        config:*) case "${{COMP_WORDS[2]}}" in
{commands}        esac ;;
        *) words='{options}' ;;
    esac
    if [ "$COMP_CWORD" -eq 1 ]; then
        COMPREPLY=($(compgen -W '{first} {options}' -- "$word"))
    elif [ "$COMP_CWORD" -eq 2 ] && [ "${{COMP_WORDS[1]}}" = config ]; then
        COMPREPLY=($(compgen -W '{names}' -- "$word"))
    else
        case "$words" in
            --*) case "$word" in
                -*) COMPREPLY=($(compgen -W "$words" -- "$word")) ;;
                *) COMPREPLY=($(compgen -f -- "$word")) ;;
            esac ;;
            *) COMPREPLY=($(compgen -W "$words" -- "$word")) ;;
        esac
    fi
}}
complete -o filenames -F _keepalived_rs keepalived-rs
"#,
        topics = topics().join(" "),
        options = long_options(),
        first = FIRST.join(" "),
        names = names(),
    )
}

fn zsh() -> String {
    let commands: String = COMMANDS
        .iter()
        .filter(|command| command.name != "explain")
        .map(|command| format!("                {}) compadd -- {}; _files ;;\n", command.name, flags(command)))
        .collect();
    let described: String =
        COMMANDS.iter().map(|command| format!(" '{}:{}'", command.name, command.help.replace('\'', "'\\''"))).collect();
    format!(
        r#"#compdef keepalived-rs
# zsh completion for keepalived-rs
_keepalived_rs() {{
    local -a commands topics
    commands=({described} )
    topics=({topics})
    if (( CURRENT == 2 )); then
        compadd -- {first} {options}
        return
    fi
    case "${{words[2]}}" in
        explain) compadd -a topics ;;
        completion) compadd -- bash zsh fish ;;
        config)
            if (( CURRENT == 3 )); then
                _describe command commands
                return
            fi
            case "${{words[3]}}" in
                explain) compadd -a topics ;;
{commands}            esac ;;
        *) compadd -- {options}; _files ;;
    esac
}}
_keepalived_rs "$@"
"#,
        topics = topics().join(" "),
        options = long_options(),
        first = FIRST.join(" "),
    )
}

fn fish() -> String {
    let mut text = String::from("# fish completion for keepalived-rs\n");
    let mut line =
        |condition: &str, rest: &str| text += &format!("complete -c keepalived-rs -n '{condition}' {rest}\n");
    line("__fish_use_subcommand", &format!("-f -a '{}'", FIRST.join(" ")));
    for name in cli::long_options() {
        line("__fish_use_subcommand", &format!("-l {name}"));
    }
    line("__fish_seen_subcommand_from completion", "-f -a 'bash zsh fish'");
    line("__fish_seen_subcommand_from explain", &format!("-f -a '{}'", topics().join(" ")));
    let none = format!("__fish_seen_subcommand_from config; and not __fish_seen_subcommand_from {}", names());
    for command in COMMANDS {
        let help = command.help.replace('\'', "\\'");
        line(&none, &format!("-f -a {} -d '{help}'", command.name));
        let seen = format!("__fish_seen_subcommand_from config; and __fish_seen_subcommand_from {}", command.name);
        for flag in command.flags {
            let values = flag.value.filter(|words| words.contains('|')).map(|words| words.replace('|', " "));
            let takes = match (flag.value, values) {
                (None, _) => String::new(),
                (Some(_), Some(words)) => format!(" -x -a '{words}'"),
                (Some(_), None) => " -r".to_owned(),
            };
            line(&seen, &format!("-l {}{takes} -d '{}'", flag.name, flag.help));
        }
    }
    text
}
