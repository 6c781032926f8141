#![allow(clippy::disallowed_methods, reason = "tests make up their time")]

use std::net::SocketAddr;

use lazaret_config::Transport;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn who(device: &str) -> Who {
    (device.parse().unwrap(), "console".parse().unwrap())
}

fn flow(id: u32, state: FlowState, received: u64) -> Flow {
    Flow {
        key: FlowKey {
            id,
            from: SocketAddr::new([10, 64, 0, 3].into(), 40_000),
            to: "10.20.0.5:22".parse().unwrap(),
            transport: Transport::Tcp,
        },
        state,
        passed: Some(Passed { received, sent: 1 }),
        seen: None,
        began: None,
    }
}

/// A desk, and time that passes.
struct Desk {
    consoles: Consoles,
    at: Moment,
}

impl Desk {
    fn new() -> Self {
        let wall = "2026-11-24T08:00:00Z".parse().unwrap();
        let now = Instant::now();
        Self {
            consoles: Consoles::default(),
            at: Moment { now, wall },
        }
    }

    /// After so many seconds the kernel says this; gives what it says to be nobody's.
    fn look(&mut self, after: u64, flows: &[Flow]) -> Vec<FlowKey> {
        let after = Duration::from_secs(after);
        self.at.now += after;
        self.at.wall += after;
        let mine = |_: &FlowKey| Some(who("desk-1"));
        self.consoles.look(flows, true, self.at, mine)
    }

    fn judge(&mut self, verdict: Result<Basis, &'static str>) -> Vec<FlowKey> {
        self.consoles.judge(self.at.now, |_, _| verdict)
    }

    fn records(&mut self) -> Vec<String> {
        let said = |event: &Event| {
            if let Event::ConsoleBegan {
                since, continued, ..
            } = event
            {
                return format!("began {since} {continued}");
            }
            if let Event::ConsoleEnded {
                sessions,
                seconds,
                flows,
                received,
                why,
                ..
            } = event
            {
                let what = format!("{flows} flows, {received:?} bytes");
                return format!("ended {why}: {sessions} of {seconds} s, {what}");
            }
            format!("{event:?}")
        };
        self.consoles.records(false).iter().map(said).collect()
    }
}

#[test]
fn a_session_is_all_connections_to_a_console_and_ends_after_the_last() {
    let mut desk = Desk::new();
    desk.look(0, &[]);
    let open = FlowState::Open;
    assert!(desk.look(1, &[flow(1, open, 100)]).is_empty());
    assert_eq!(desk.records(), ["began 2026-11-24T08:00:01Z false"]);
    desk.look(1, &[flow(1, FlowState::Closed, 150), flow(2, open, 10)]);
    desk.look(1, &[flow(2, open, 20), flow(3, FlowState::Tried, 5)]);
    // One that is missing once may come back.
    desk.look(1, &[flow(3, FlowState::Tried, 5)]);
    desk.look(1, &[flow(2, open, 30)]);
    assert!(desk.judge(Ok(Basis::Rules)).is_empty() && desk.records().is_empty());
    let listed = desk.consoles.list(desk.at.now, |_, _| None);
    assert_eq!(
        (listed[0].connections, listed[0].connections_so_far),
        (1, 2)
    );
    assert_eq!((listed[0].received, listed[0].seconds), (Some(180), 4));
    desk.look(1, &[flow(2, FlowState::Closed, 40)]);
    desk.look(1, &[flow(2, FlowState::Closed, 41)]);
    assert!(
        desk.judge(Ok(Basis::Rules)).is_empty() && desk.records().is_empty(),
        "another may follow"
    );
    desk.look(1, &[flow(2, FlowState::Closed, 41)]);
    assert!(desk.judge(Ok(Basis::Rules)).is_empty());
    assert_eq!(
        desk.records(),
        ["ended closed: 1 of 7 s, 2 flows, Some(191) bytes"]
    );
    // The kernel remembers it for a while, which begins nothing.
    desk.look(1, &[flow(2, FlowState::Closed, 41)]);
    assert_eq!((desk.consoles.len(), desk.records().len()), (0, 0));
    desk.look(1, &[]);
    assert!(desk.consoles.rests());
}

#[test]
fn what_may_not_go_on_is_cut_until_it_is_gone() {
    let mut desk = Desk::new();
    let open = flow(1, FlowState::Open, 100);
    desk.look(0, &[open]);
    assert!(desk.judge(Ok(Basis::Rules)).is_empty());
    assert_eq!(desk.judge(Err("hours")), [open.key]);
    // What began and ended between two records is said once.
    assert_eq!(
        desk.records(),
        ["ended hours: 1 of 0 s, 1 flows, Some(100) bytes"]
    );
    assert_eq!(desk.look(1, &[open]), [open.key], "it was not cut");
    assert!(desk.look(1, &[]).is_empty() && desk.records().is_empty());
    // Nobody's is cut, whoever it was.
    let nobody = |_: &FlowKey| None;
    assert_eq!(
        desk.consoles.look(&[open], true, desk.at, nobody),
        [open.key]
    );
    assert!(desk.look(1, &[]).is_empty());
    desk.look(1, &[open]);
    assert_eq!(desk.consoles.len(), 1, "it came back and is allowed");
}

#[test]
fn silence_and_age_are_known_and_uncounted_sessions_are_never_silent() {
    let mut desk = Desk::new();
    desk.look(0, &[]);
    let silence = |desk: &Desk| {
        let session = desk.consoles.all().next();
        session.map(|(_, session)| session.silence(desk.at.now))
    };
    desk.look(1, &[flow(1, FlowState::Open, 100)]);
    desk.look(4, &[flow(1, FlowState::Open, 100)]);
    assert_eq!(silence(&desk), Some(4 * SECOND));
    desk.look(1, &[flow(1, FlowState::Open, 101)]);
    assert_eq!(silence(&desk), Some(Duration::ZERO));
    let mut uncounted = flow(1, FlowState::Open, 0);
    uncounted.passed = None;
    desk.look(9, &[uncounted]);
    assert_eq!(silence(&desk), Some(Duration::ZERO));
    assert_eq!(
        desk.consoles.list(desk.at.now, |_, _| None)[0].received,
        None
    );
}

#[test]
fn what_is_there_at_the_beginning_goes_on_with_its_age() {
    let mut desk = Desk::new();
    let hour = Duration::from_hours(1);
    let began = |flow: Flow, ago: Duration| {
        let at = (desk.at.wall - ago).as_nanosecond();
        Flow {
            began: Some(u64::try_from(at).unwrap()),
            ..flow
        }
    };
    let flows = [
        began(flow(1, FlowState::Open, 5), hour),
        began(flow(2, FlowState::Open, 5), 2 * hour),
        began(flow(3, FlowState::Closed, 5), 3 * hour),
    ];
    desk.look(0, &flows);
    assert_eq!(desk.records(), ["began 2026-11-24T06:00:00Z true"]);
    let listed = desk.consoles.list(desk.at.now, |_, _| Some(hour));
    assert_eq!(
        (listed[0].seconds, listed[0].seconds_left),
        (7200, Some(3600))
    );
    assert_eq!(listed[0].connections_so_far, 2);
    // One of the future is of now.
    let mut other = Desk::new();
    let ahead = u64::try_from((other.at.wall + hour).as_nanosecond()).unwrap();
    let ahead = Flow {
        began: Some(ahead),
        ..flow(4, FlowState::Open, 5)
    };
    other.look(0, &[ahead]);
    assert_eq!(other.consoles.list(other.at.now, |_, _| None)[0].seconds, 0);
}

#[test]
fn connections_that_begin_are_told_once_and_what_lets_a_session_go_on_is_remembered() {
    let mut desk = Desk::new();
    let flows = [flow(1, FlowState::Open, 1), flow(2, FlowState::Closed, 1)];
    desk.look(0, &flows[..1]);
    desk.look(1, &flows);
    assert_eq!(desk.consoles.take_fresh(), [(who("desk-1"), 2)].into());
    desk.look(1, &flows);
    assert!(desk.consoles.take_fresh().is_empty());
    desk.judge(Ok(Basis::BreakGlass));
    let bases = |_: &Who, session: &Session| match session.basis() {
        Basis::BreakGlass => Err("break-glass"),
        Basis::Rules => Err("policy"),
    };
    assert_eq!(desk.consoles.judge(desk.at.now, bases).len(), 2);
    assert_eq!(
        desk.records(),
        ["ended break-glass: 1 of 2 s, 2 flows, Some(2) bytes"]
    );
}

//= C7
#[test]
fn a_flood_is_one_session_and_records_are_merged() {
    let mut desk = Desk::new();
    desk.look(0, &[]);
    let many: Vec<Flow> = (0..10_000)
        .map(|id| flow(id, FlowState::Closed, 1))
        .collect();
    desk.look(1, &many);
    assert_eq!((desk.consoles.len(), desk.records().len()), (1, 1));
    desk.look(4, &many);
    desk.judge(Ok(Basis::Rules));
    assert_eq!(
        desk.records(),
        ["ended closed: 1 of 4 s, 10000 flows, Some(10000) bytes"]
    );
    assert!(desk.look(1, &many).is_empty(), "they are known");
    desk.look(1, &[]);
    // More pairs than are recorded at once: each has its end in time, and ends that wait are merged.
    let at = desk.at;
    let mut all = Vec::new();
    for round in 0..2u32 {
        let flows: Vec<Flow> = (0..300)
            .map(|id| flow(20_000 + round * 1_000 + id, FlowState::Open, 1))
            .collect();
        let whose = |key: &FlowKey| Some(who(&format!("desk-{}", key.id % 1_000)));
        assert!(desk.consoles.look(&flows, true, at, whose).is_empty());
        let cut = desk.consoles.judge(at.now, |_, _| Err("idle"));
        assert_eq!(cut.len(), 300);
    }
    loop {
        let some = desk.consoles.records(false);
        assert!(some.len() <= RECORDS);
        if some.is_empty() {
            break;
        }
        all.extend(some);
    }
    let merged = |event: &Event| {
        matches!(
            event,
            Event::ConsoleEnded {
                sessions: 2,
                flows: 2,
                ..
            }
        )
    };
    assert_eq!((all.len(), all.iter().all(merged)), (300, true));
}
