//! Who answers what, process by process. Together the scenarios of one take each of its transitions, reach each
//! of its steps and end each waiting step in each way that it can end.

use serde_json::{Value, json};

use super::{Deed, Does, Process, Scenario};

pub fn all() -> Vec<Process> {
    vec![
        polling(),
        callback(),
        forking(),
        quorum(),
        saga(),
        reviewing(),
        racing(),
        provisioning(),
    ]
}

impl Deed {
    /// How long the answer takes in the simulation.
    fn after(self, after: &'static str) -> Self {
        Self { after, ..self }
    }
}

fn deed(step: &'static str, does: Does) -> Deed {
    let after = "";
    Deed { step, does, after }
}

fn gives(step: &'static str, data: Value) -> Deed {
    deed(step, Does::Gives(data))
}

fn done(step: &'static str) -> Deed {
    gives(step, json!({}))
}

fn fails(step: &'static str) -> Deed {
    deed(step, Does::Fails("BROKEN"))
}

fn throws(step: &'static str, code: &'static str) -> Deed {
    deed(step, Does::Throws(code))
}

fn yes(step: &'static str) -> Deed {
    deed(step, Does::Approves)
}

fn no(step: &'static str) -> Deed {
    deed(step, Does::Rejects)
}

fn late(step: &'static str) -> Deed {
    deed(step, Does::IsLate)
}

fn alone(step: &'static str) -> Deed {
    deed(step, Does::StaysAway)
}

fn nothing(step: &'static str) -> Deed {
    deed(step, Does::Nothing)
}

fn elapses(step: &'static str) -> Deed {
    deed(step, Does::Elapses)
}

fn gives_up(step: &'static str) -> Deed {
    deed(step, Does::GivesUp)
}

fn scenario(input: Value, deeds: impl Into<Vec<Deed>>, end: &'static str) -> Scenario {
    let deeds = deeds.into();
    Scenario { input, deeds, end }
}

/// Without any input.
fn plain(deeds: impl Into<Vec<Deed>>, end: &'static str) -> Scenario {
    scenario(json!({}), deeds, end)
}

fn polling() -> Process {
    const ORDER: &str = "Order the rendering";
    const PAUSE: &str = "Pause";
    const ASK: &str = "Ask for the state";
    let says = |state: &str| gives(ASK, json!({ "state": state }));
    Process {
        document: include_str!("polling.yaml"),
        scenarios: vec![
            plain(
                [
                    fails(ORDER),
                    done(ORDER),
                    elapses(PAUSE),
                    says("QUEUED"),
                    elapses(PAUSE),
                    fails(ASK),
                    elapses(PAUSE),
                    late(ASK),
                    elapses(PAUSE),
                    says("RUNNING"),
                    elapses(PAUSE),
                    says("DONE"),
                ],
                "COMPLETED",
            ),
            plain(
                [done(ORDER), elapses(PAUSE), says("BROKEN")],
                "RENDERING_FAILED",
            ),
            // No transition is for this: the branch ends there.
            plain([done(ORDER), elapses(PAUSE), says("MELTED")], "COMPLETED"),
            plain([fails(ORDER), fails(ORDER), fails(ORDER)], "BROKEN"),
        ],
        excused: &[],
        unreal: 0,
    }
}

fn callback() -> Process {
    const ASK: &str = "Ask the agency";
    const ANSWER: &str = "Answer of the agency";
    const CHECK: &str = "Check by hand";
    const OPEN: &str = "Open the account";
    let case = |deeds: Vec<Deed>, end| scenario(json!({ "caseId": "C-7" }), deeds, end);
    let says = |genuine: bool| gives(ANSWER, json!({ "genuine": genuine }));
    Process {
        document: include_str!("callback.yaml"),
        scenarios: vec![
            case(vec![done(ASK), says(true), done(OPEN)], "COMPLETED"),
            case(vec![fails(ASK), done(ASK), says(false)], "NOT_IDENTIFIED"),
            case(
                vec![done(ASK), late(ANSWER), yes(CHECK), done(OPEN)],
                "COMPLETED",
            ),
            case(
                vec![throws(ASK, "AGENCY_CLOSED"), no(CHECK)],
                "NOT_IDENTIFIED",
            ),
            case(vec![alone(ASK), late(ASK), late(CHECK)], "TIMEOUT"),
            case(vec![done(ASK), says(true), fails(OPEN)], "BROKEN"),
            // Nobody could tell whose answer it is.
            plain([done(ASK)], "CORRELATION_UNDEFINED"),
        ],
        excused: &[],
        unreal: 0,
    }
}

fn forking() -> Process {
    const LOOK: &str = "Look at it";
    const SHRINK: &str = "Shrink";
    const RECOGNISE: &str = "Recognise";
    const MARK: &str = "Mark it";
    const PUBLISH: &str = "Publish";
    let public = |deeds: Vec<Deed>, end| scenario(json!({ "isPublic": true }), deeds, end);
    Process {
        document: include_str!("forking.yaml"),
        scenarios: vec![
            public(
                vec![
                    done(LOOK),
                    done(SHRINK),
                    done(RECOGNISE),
                    done(MARK),
                    done(PUBLISH),
                ],
                "COMPLETED",
            ),
            public(
                vec![
                    done(LOOK),
                    done(MARK),
                    done(RECOGNISE).after("1m"),
                    fails(SHRINK).after("2m"),
                    fails(SHRINK),
                    done(PUBLISH),
                ],
                "COMPLETED",
            ),
            plain(
                [
                    done(LOOK),
                    fails(SHRINK),
                    fails(RECOGNISE),
                    done(SHRINK),
                    fails(PUBLISH),
                ],
                "BROKEN",
            ),
            public(
                vec![done(LOOK), fails(MARK), nothing(SHRINK), nothing(RECOGNISE)],
                "BROKEN",
            ),
            plain([fails(LOOK)], "BROKEN"),
        ],
        excused: &[],
        unreal: 0,
    }
}

fn quorum() -> Process {
    const RISK: &str = "Vote of risk";
    const SALES: &str = "Vote of sales";
    const FINANCE: &str = "Vote of finance";
    const PAY: &str = "Pay out";
    const WRITE: &str = "Write the refusal";
    Process {
        document: include_str!("quorum.yaml"),
        scenarios: vec![
            plain(
                [yes(RISK), yes(SALES), nothing(FINANCE), done(PAY)],
                "COMPLETED",
            ),
            plain(
                [no(RISK), no(SALES), nothing(FINANCE), done(WRITE)],
                "DECLINED",
            ),
            plain([yes(RISK), no(SALES), yes(FINANCE), done(PAY)], "COMPLETED"),
            plain([no(RISK), yes(SALES), no(FINANCE), done(WRITE)], "DECLINED"),
            plain(
                [
                    yes(SALES).after("1h"),
                    late(RISK),
                    late(FINANCE),
                    fails(WRITE),
                ],
                "BROKEN",
            ),
            plain(
                [nothing(RISK), yes(SALES), yes(FINANCE), fails(PAY)],
                "BROKEN",
            ),
            plain(
                [yes(RISK), late(SALES), late(FINANCE), done(WRITE)],
                "DECLINED",
            ),
        ],
        excused: &[],
        unreal: 0,
    }
}

fn saga() -> Process {
    const TRAIN: &str = "Book the train";
    const HOTEL: &str = "Book the hotel";
    const HOSTEL: &str = "Book the hostel";
    const CHARGE: &str = "Charge the company";
    const TICKET: &str = "Return the ticket";
    const ROOM: &str = "Free the room";
    const BED: &str = "Free the bed";
    let full = || throws(HOTEL, "FULL");
    Process {
        document: include_str!("saga.yaml"),
        scenarios: vec![
            plain(
                [done(TRAIN), done(HOTEL), fails(CHARGE), done(CHARGE)],
                "COMPLETED",
            ),
            plain(
                [done(TRAIN), full(), done(HOSTEL), done(CHARGE)],
                "COMPLETED",
            ),
            // A business error is not tried again; what was done last is undone first.
            plain(
                [
                    done(TRAIN),
                    done(HOTEL),
                    throws(CHARGE, "NO_BUDGET"),
                    done(ROOM),
                    done(TICKET),
                ],
                "NO_BUDGET",
            ),
            plain(
                [
                    done(TRAIN),
                    full(),
                    done(HOSTEL),
                    fails(CHARGE),
                    fails(CHARGE),
                    done(BED),
                    done(TICKET),
                ],
                "BROKEN",
            ),
            // An undoing that fails waits for an operator, and the rest goes on.
            plain(
                [
                    done(TRAIN),
                    done(HOTEL),
                    throws(CHARGE, "NO_BUDGET"),
                    fails(ROOM),
                    gives_up(ROOM),
                    fails(TICKET),
                    gives_up(TICKET),
                ],
                "NO_BUDGET",
            ),
            plain(
                [
                    done(TRAIN),
                    full(),
                    done(HOSTEL),
                    throws(CHARGE, "NO_BUDGET"),
                    fails(BED),
                    gives_up(BED),
                    done(TICKET),
                ],
                "NO_BUDGET",
            ),
            plain([done(TRAIN), full(), fails(HOSTEL), done(TICKET)], "BROKEN"),
            plain([done(TRAIN), fails(HOTEL), done(TICKET)], "BROKEN"),
            plain([fails(TRAIN)], "BROKEN"),
        ],
        excused: &[],
        unreal: 0,
    }
}

fn reviewing() -> Process {
    const WRITE: &str = "Write";
    const REVIEW: &str = "Review";
    const DEPUTY: &str = "Review by the deputy";
    const PRINT: &str = "Print";
    let writes = |title: &str| gives(WRITE, json!({ "title": title }));
    Process {
        document: include_str!("reviewing.yaml"),
        scenarios: vec![
            plain([writes("A"), yes(REVIEW), done(PRINT)], "COMPLETED"),
            plain(
                [
                    writes("A"),
                    no(REVIEW),
                    writes("B"),
                    late(REVIEW),
                    yes(DEPUTY),
                    fails(PRINT),
                ],
                "BROKEN",
            ),
            plain(
                [
                    writes("A"),
                    late(REVIEW),
                    no(DEPUTY),
                    writes("B"),
                    no(REVIEW),
                ],
                "DROPPED",
            ),
            plain([late(WRITE)], "COMPLETED"),
        ],
        excused: &[],
        unreal: 0,
    }
}

fn racing() -> Process {
    const RESERVE: &str = "Reserve";
    const PAID: &str = "Paid";
    const OFF: &str = "Called off";
    const TIME: &str = "Time is up";
    const SHIP: &str = "Ship";
    const BACK: &str = "Put back";
    let paid = || gives(PAID, json!({ "amount": 12 }));
    let off = || gives(OFF, json!({ "reason": "changed my mind" }));
    Process {
        document: include_str!("racing.yaml"),
        scenarios: vec![
            plain(
                [done(RESERVE), paid(), nothing(OFF), done(SHIP)],
                "COMPLETED",
            ),
            plain(
                [done(RESERVE), off(), nothing(PAID), done(BACK)],
                "COMPLETED",
            ),
            plain(
                [
                    done(RESERVE),
                    nothing(PAID),
                    nothing(OFF),
                    elapses(TIME),
                    done(BACK),
                ],
                "COMPLETED",
            ),
            // One message a minute before the time is up, and nobody ships.
            plain(
                [
                    done(RESERVE),
                    paid().after("47h59m"),
                    nothing(OFF),
                    alone(SHIP),
                    fails(BACK),
                ],
                "BROKEN",
            ),
            plain([done(RESERVE), paid(), nothing(OFF), fails(SHIP)], "BROKEN"),
            plain([fails(RESERVE)], "BROKEN"),
        ],
        // Two messages and a timer cannot fail: one of them always comes.
        excused: &["First FAILED"],
        unreal: 1,
    }
}

fn provisioning() -> Process {
    const CHECK: &str = "Check the order";
    const COMPLETE: &str = "Complete the order";
    const DAY: &str = "Wait for the day";
    const SET_UP: &str = "Set it up";
    let day = |at: &str| json!({ "deliverAt": at });
    let far = || day("2999-12-31T08:00:00Z");
    Process {
        document: include_str!("provisioning.yaml"),
        scenarios: vec![
            scenario(
                far(),
                [done(CHECK), elapses(DAY), done(SET_UP)],
                "COMPLETED",
            ),
            plain(
                [
                    throws(CHECK, "NO_NUMBER"),
                    gives(COMPLETE, day("2001-01-01T00:00:00Z")),
                    done(CHECK),
                    fails(SET_UP),
                    gives_up(SET_UP),
                ],
                "BROKEN",
            ),
            scenario(
                far(),
                [done(CHECK), elapses(DAY), late(SET_UP), gives_up(SET_UP)],
                "TIMEOUT",
            ),
            plain([throws(CHECK, "NO_ITEM")], "INVALID_ORDER"),
            plain([throws(CHECK, "NO_NUMBER"), late(COMPLETE)], "TIMEOUT"),
            // Nobody said when.
            plain([done(CHECK)], "WAIT_UNDEFINED"),
            plain([fails(CHECK)], "BROKEN"),
        ],
        excused: &[],
        unreal: 0,
    }
}
