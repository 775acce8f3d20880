//! `keepalived-rs real-server drain`, `undrain` and `status`, and virtual servers that a reload leaves out.

use super::*;

const SERVICE: &str = "[198.18.1.1]:tcp:80 Inet";
const WITHOUT_FIRST: &str = "[198.18.1.1]:tcp:80 -> 192.0.2.11:80 0";
const WITHOUT_SECOND: &str = "[198.18.1.1]:tcp:80 -> 192.0.2.12:80 0";

impl Director {
    fn spawn_command(&self, line: &str) -> Result<Process, Stop> {
        let program = Program::new(env!("CARGO_BIN_EXE_keepalived-rs")).arg("real-server").args(line.split(' '));
        Ok(self.host.spawn(program.arg("--pid").arg(self.file("k.pid")))?)
    }

    /// Runs a command, which ends with this status and says these words.
    fn command(&self, line: &str, status: i32, words: &[&str]) -> CaseResult {
        let process = self.spawn_command(line)?;
        let exit = process.wait_for_exit(PATIENCE)?;
        if exit.code() != Some(status) {
            let said: Vec<_> = process.lines().into_iter().map(|line| line.text).collect();
            return Err(self.failed(&format!("{line}: {exit}, not {status}:\n{}", said.join("\n"))));
        }
        for word in words {
            process.wait_for_line(word, PATIENCE).map_err(|error| self.failed(&format!("{line}: {error}")))?;
        }
        Ok(())
    }

    /// Established connections of a real server.
    fn active(&self, place: &str) -> Result<u32, Stop> {
        let entries = self.table()?.entries.into_iter().flat_map(|(_, destinations)| destinations);
        let mut found = entries.filter(|entry| entry.destination.key().to_string() == place);
        Ok(found.next().map_or(0, |entry| entry.active_connections))
    }
}

/// Ends it by a reset: the balancer forgets it within seconds.
fn reset(client: TcpStream) -> CaseResult {
    let linger = nix::libc::linger { l_onoff: 1, l_linger: 0 };
    nix::sys::socket::setsockopt(&client, nix::sys::socket::sockopt::Linger, &linger)?;
    drop(client);
    Ok(())
}

/// Whatever checks, reloads and a dead checker say; its connection goes on and new ones go to the other.
pub(crate) fn a_drained_server_stays_out_of_use_until_undrain() -> CaseResult {
    let mut director = Director::with(&file("sorry_server 192.0.2.9 81"))?;
    director.holds(&BOTH)?;
    director.command("drain 198.18.1.1 80 192.0.2.12 80", 0, &["Drained: nothing is left"])?;
    let drained = [SERVICE, BOTH[1], WITHOUT_SECOND];
    director.holds(&drained)?;
    director.command(
        "drain 198.18.1.1 80 192.0.2.11 80",
        1,
        &["the sorry server [192.0.2.9]:tcp:81 takes", "--force"],
    )?;
    let client = director.connect()?;
    director.close(REAL[1])?;
    director.holds(&[SERVICE, BOTH[1]])?;
    director.listen(REAL[1])?;
    director.holds(&drained)?;
    director.reload(&file("sorry_server 192.0.2.9 82"))?;
    director.kill_checker()?;
    director.command("status --format json", 0, &["\"progress\": \"drained\""])?;
    director.holds(&drained)?;
    director.command("undrain 198.18.1.1:80 192.0.2.12:80", 0, &["[192.0.2.12]:tcp:80 has weight 1"])?;
    director.holds(&BOTH)?;

    let timed = ["not drained in time: 1 active and 0 inactive connections"];
    director.command("drain 198.18.1.1 80 192.0.2.11 --timeout 1", 3, &timed)?;
    let waiting = director.spawn_command("drain [198.18.1.1]:tcp:80 [192.0.2.11]:tcp:80 --timeout 600")?;
    waiting.wait_for_line("1 active and 0 inactive connections, at most ", PATIENCE)?;
    director.command("status 198.18.1.1", 0, &["up, draining for ", "quorum up, live weight 1"])?;
    let other = director.connect()?;
    wait_until("the other connection at the other server", || Ok(director.active(REAL[1])? == 1))?;
    if director.active(REAL[0])? != 1 {
        return Err(director.failed("the connection of the drained server was cut, or it got another one"));
    }
    reset(client)?;
    waiting.wait_for_line("Drained: nothing is left", PATIENCE)?;
    if waiting.wait_for_exit(PATIENCE)?.code() != Some(0) {
        return Err(director.failed("the command that waited failed"));
    }
    director.command("drain 198.18.1.1 80 192.0.2.12 80 --force --no-wait", 0, &["has lost its quorum: the sorry"])?;
    director.holds(&[SERVICE, WITHOUT_FIRST, WITHOUT_SECOND, "[198.18.1.1]:tcp:80 -> 192.0.2.9:82 1"])?;
    drop(other);
    director.command("drain 198.18.1.1 81 192.0.2.12 80", 1, &["did you mean [198.18.1.1]:tcp:80? There are"])?;
    director.stop()?;
    director.holds(&[])
}

/// New connections are refused, those that there are go on; with the last one the service goes.
pub(crate) fn a_virtual_server_that_a_reload_leaves_out_may_finish() -> CaseResult {
    let director = Director::with(&file("drain_timeout 600"))?;
    director.holds(&BOTH)?;
    director.command("drain 198.18.1.1 80 192.0.2.12 80 --no-wait", 0, &[])?;
    director.holds(&[SERVICE, BOTH[1], WITHOUT_SECOND])?;
    let mut client = director.connect()?;
    // Half a file is no order to leave everything out.
    std::fs::write(director.file("k.conf"), "virtual_serve 198.18.1.1 80 {\n protocol TCP\n}\n")?;
    director.daemon().signal(Signal::SIGHUP)?;
    director.hear("nothing in it is left to run")?;
    director.holds(&[SERVICE, BOTH[1], WITHOUT_SECOND])?;
    director.reload("global_defs {\n router_id x\n}\n")?;
    let leaving = [SERVICE, WITHOUT_FIRST];
    director.holds(&leaving)?;
    director.command("status", 0, &["not configured any more", "leaving, draining for "])?;
    if director.connect().is_ok() {
        return Err(director.failed("a service that leaves took a connection"));
    }
    std::io::Write::write_all(&mut client, b"still here")?;
    // Another reload changes nothing of that.
    director.reload("global_defs {\n router_id y\n}\n")?;
    director.holds(&leaving)?;
    reset(client)?;
    director.hear("Drained service [192.0.2.11]:tcp:80 of VS [198.18.1.1]:tcp:80")?;
    director.holds(&[])?;
    director.reload(&file(""))?;
    director.holds(&BOTH)?;
    director.stop()
}
