//! What processes said. Invariant: none has panicked, unless a scenario planted it.

use crate::stage::Stage;

const ALARMS: [&str; 3] = ["panicked at", "wait without a reason", "cannot be sent"];
const PLANTED: &str = "planted at";

pub fn check(stage: &Stage) -> anyhow::Result<Vec<String>> {
    let mut found = Vec::new();
    for (name, process) in stage.processes() {
        let log = process.log()?;
        let lines: Vec<&str> = log.lines().collect();
        for (at, line) in lines.iter().enumerate() {
            let is_alarm = ALARMS.iter().any(|alarm| line.contains(alarm));
            // The message follows the place.
            let is_planted = lines[at..]
                .iter()
                .take(2)
                .any(|line| line.contains(PLANTED));
            if is_alarm && !is_planted {
                let next = lines.get(at + 1).copied().unwrap_or_default();
                found.push(format!("{name}: {line} {next}"));
            }
        }
    }
    Ok(found)
}
