//! What the runner process does for checks, and what becomes of them without it.

use super::*;

/// A server whose program is asked for, and one that follows a file.
fn config(director: &Director) -> String {
    let here = director.folder.path().display();
    format!(
        "global_defs {{\n script_user root\n}}\ntrack_file f {{\n file {here}/number\n weight 2\n}}\n\
         virtual_server 198.18.1.1 80 {{\n protocol TCP\n lb_algo wlc\n lb_kind NAT\n \
         real_server 192.0.2.11 80 {{\n  weight 5\n  MISC_CHECK {{\n   misc_path {here}/check\n   misc_timeout 60\n   \
         misc_dynamic\n   delay_loop 0.1\n   warmup 0\n  }}\n }}\n \
         real_server 192.0.2.12 80 {{\n  weight 5\n  FILE_CHECK {{\n   track_file f\n  }}\n }}\n}}\n"
    )
}

/// With these weights of both servers.
fn weights(first: u8, second: u8) -> [String; 3] {
    let server = |number: u8, weight| format!("[198.18.1.1]:tcp:80 -> 192.0.2.1{number}:80 {weight}");
    ["[198.18.1.1]:tcp:80 Inet".to_owned(), server(1, first), server(2, second)]
}

impl Director {
    /// In one piece: whoever reads meanwhile finds one or the other.
    fn write(&self, name: &str, text: &str) -> CaseResult {
        std::fs::write(self.file("new"), text)?;
        Ok(std::fs::rename(self.file("new"), self.file(name))?)
    }

    /// Each run of the program has written its process id.
    fn runs(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.file("runs")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// The run that does not end.
    fn hung(&self) -> Option<String> {
        let text = std::fs::read_to_string(self.file("hung")).ok()?;
        text.strip_suffix('\n').map(str::to_owned)
    }

    fn kill_runner(&self) -> CaseResult {
        Ok(nix::sys::signal::kill(self.pid_of("Runner")?, Signal::SIGKILL)?)
    }

    fn has_weights(&self, first: u8, second: u8) -> CaseResult {
        self.holds(&weights(first, second).each_ref().map(String::as_str))
    }

    /// Until `is_over`, nobody may change these weights.
    fn keeps(&self, first: u8, second: u8, is_over: impl Fn(&Self) -> bool) -> CaseResult {
        let expected: BTreeSet<_> = weights(first, second).into();
        wait_until("the checks to go on", || {
            let shown = self.shown()?;
            if shown != expected {
                return Err(self.failed(&format!("{shown:#?}\nis not\n{expected:#?}")));
            }
            Ok(is_over(self))
        })
    }
}

/// Whether a process is there that is no zombie.
fn is_there(pid: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

/// It dies while a program hangs that it runs, and while a file changes.
pub(crate) fn a_killed_runner_changes_no_server_and_checks_go_on() -> CaseResult {
    let mut director = Director::new()?;
    let here = director.folder.path().display().to_string();
    let script = format!(
        "#!/bin/sh\ncd {here}\necho $$ >>runs\nwhile [ -e hang ]; do echo $$ >hung; sleep 0.1; done\nexit $(cat status)\n"
    );
    std::fs::write(director.file("check"), script)?;
    std::fs::set_permissions(director.file("check"), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    director.write("status", "9")?;
    director.write("number", "3")?;
    director.start(&config(&director))?;
    director.has_weights(7, 11)?;
    for _ in 0..3 {
        let _ = std::fs::remove_file(director.file("hung"));
        director.write("hang", "")?;
        director.keeps(7, 11, |director| director.hung().is_some())?;
        let hung = director.hung().unwrap_or_default();
        director.kill_runner()?;
        // The run that was not answered is asked of the next one, and no other is left.
        director.keeps(7, 11, |director| director.hung().is_some_and(|other| other != hung))?;
        director.keeps(7, 11, |_| !is_there(&hung))?;
        let known = director.runs().len();
        std::fs::remove_file(director.file("hang"))?;
        director.keeps(7, 11, |director| director.runs().len() > known + 3)?;
    }
    director.write("status", "2")?;
    director.kill_runner()?;
    director.write("number", "-1")?;
    director.has_weights(0, 3)?;
    director.stop()?;
    director.holds(&[])?;
    wait_until("the end of every program", || Ok(!director.runs().iter().any(|pid| is_there(pid))))
}
