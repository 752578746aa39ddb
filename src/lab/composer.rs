//! Which test command starts next: the rules of Test Composer as a pure state machine. A template, a seed
//! and the number of drivers that run go in, starts come out; the order of starts depends on the seed alone,
//! never on when commands end. It starts nothing and knows no clock.

use std::{collections::VecDeque, time::Duration};

use rand::{Rng, SeedableRng, rngs::StdRng, seq::SliceRandom};
use serde::{Deserialize, Serialize};

use crate::lab::template::{Role, Template};

/// The most parallel drivers that run at once; a round draws its own bound up to this.
pub const MAX_CONCURRENCY: usize = 6;
/// The most starts in a round of parallel drivers.
const MAX_ROUND: usize = 8;
/// The longest pause before a driver starts.
const MAX_DRIVER_PAUSE_MS: u64 = 200;
/// The longest pause before an anytime command starts.
const MAX_ANYTIME_PAUSE_MS: u64 = 2_000;
/// How likely a round is a serial one, drawn once per timeline.
const SERIAL_SHARES: [f64; 3] = [0.1, 0.3, 0.6];
/// How likely a singleton is the only driver of a timeline that could have others.
const SINGLETON_SHARE: f64 = 0.25;

/// A place in [`Template::commands`].
pub type CommandIndex = usize;

/// How a timeline is to end, if the template has such a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// An `eventually_` command, which kills what runs.
    Eventually,
    /// A `finally_` command, which waits for what runs.
    Finally,
}

impl Ending {
    /// The one that timeline `number`, counted from 1, prefers: they alternate.
    pub fn of_timeline(number: usize) -> Self {
        if number % 2 == 1 { Self::Eventually } else { Self::Finally }
    }
}

/// All draws of one timeline.
#[derive(Debug)]
pub struct Schedule {
    /// The command to run before all others.
    pub first: Option<CommandIndex>,
    /// The drivers.
    pub drivers: Drivers,
    /// What runs beside the drivers.
    pub anytime: Anytime,
    /// The last command, with the way in which it ends the timeline.
    pub ending: Option<(Ending, CommandIndex)>,
}

impl Schedule {
    /// Draws the schedule of one timeline of `template`. A template without the preferred sort of ending
    /// ends with the other.
    pub fn draw(template: &Template, seed: u64, preferred: Ending) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let first = template.with_role(Role::First).choose(&mut rng).copied();
        let eventually =
            template.with_role(Role::Eventually).choose(&mut rng).map(|c| (Ending::Eventually, *c));
        let finally = template.with_role(Role::Finally).choose(&mut rng).map(|c| (Ending::Finally, *c));
        let ending = match preferred {
            Ending::Eventually => eventually.or(finally),
            Ending::Finally => finally.or(eventually),
        };
        let drivers = Drivers::draw(template, StdRng::seed_from_u64(rng.r#gen()));
        let anytime =
            Anytime { commands: template.with_role(Role::Anytime), rng: StdRng::seed_from_u64(rng.r#gen()) };
        Self { first, drivers, anytime, ending }
    }
}

impl Schedule {
    /// The same, but that the driver of this name is started at once in all containers that have it, and no other ever.
    pub fn of_driver(template: &Template, name: &str, seed: u64, preferred: Ending) -> Self {
        let named = |index: &CommandIndex| template.commands[*index].name == name;
        let start = |command| Start { command, pause: Duration::ZERO };
        let waiting: VecDeque<Start> = (0..template.commands.len()).filter(named).map(start).collect();
        let mut schedule = Self::draw(template, seed, preferred);
        let concurrency = waiting.len();
        schedule.drivers = Drivers {
            parallel: vec![],
            serial: vec![],
            round: Round::Parallel { waiting, concurrency },
            planned: VecDeque::new(),
            ..schedule.drivers
        };
        schedule
    }
}

/// A command to start, after a pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Start {
    /// The command.
    pub command: CommandIndex,
    /// How long to wait before it.
    pub pause: Duration,
}

/// What to do about drivers now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Start this one.
    Start(Start),
    /// Ask again when a driver has ended.
    Wait,
    /// No driver will start any more.
    Done,
}

#[derive(Debug)]
enum Round {
    Parallel { waiting: VecDeque<Start>, concurrency: usize },
    Serial(Start),
    SerialStarted,
    Singleton(Start),
    SingletonStarted,
}

/// Driver starts in rounds: several parallel ones with a bound on how many run at once, or a serial one.
/// The first rounds hold every driver, so that even a short timeline tries each; then chance decides.
#[derive(Debug)]
pub struct Drivers {
    rng: StdRng,
    parallel: Vec<CommandIndex>,
    serial: Vec<CommandIndex>,
    serial_share: f64,
    round: Round,
    planned: VecDeque<Round>,
}

impl Drivers {
    fn draw(template: &Template, mut rng: StdRng) -> Self {
        let parallel = template.with_role(Role::ParallelDriver);
        let serial = template.with_role(Role::SerialDriver);
        let singletons = template.with_role(Role::SingletonDriver);
        let serial_share = *SERIAL_SHARES.choose(&mut rng).expect("there are shares to choose from");
        let others = !parallel.is_empty() || !serial.is_empty();
        let singleton =
            singletons.choose(&mut rng).copied().filter(|_| !others || rng.gen_bool(SINGLETON_SHARE));
        let round = Round::Parallel { waiting: VecDeque::new(), concurrency: 1 };
        let mut drivers = Self { rng, parallel, serial, serial_share, round, planned: VecDeque::new() };
        if let Some(command) = singleton {
            drivers.round = Round::Singleton(drivers.start(command));
        } else {
            drivers.plan_one_of_each(template);
        }
        drivers
    }

    /// A serial driver that lies in several containers is planned once, in one of them.
    fn plan_one_of_each(&mut self, template: &Template) {
        let mut serial = self.serial.clone();
        serial.shuffle(&mut self.rng);
        serial.sort_by_key(|command| &template.commands[*command].name);
        serial.dedup_by_key(|command| &template.commands[*command].name);
        let mut rounds: Vec<Round> =
            serial.into_iter().map(|command| Round::Serial(self.start(command))).collect();
        if !self.parallel.is_empty() {
            let mut commands = self.parallel.clone();
            commands.shuffle(&mut self.rng);
            rounds.push(self.parallel_round(&commands));
        }
        rounds.shuffle(&mut self.rng);
        self.planned = rounds.into();
    }

    /// What to do while `running` drivers run. Ask until it says something else than start.
    pub fn next(&mut self, running: usize) -> Step {
        match &mut self.round {
            Round::Parallel { waiting, concurrency } => {
                if !waiting.is_empty() && running >= *concurrency {
                    return Step::Wait;
                }
                if let Some(start) = waiting.pop_front() {
                    return Step::Start(start);
                }
            }
            Round::Serial(_) | Round::SerialStarted | Round::Singleton(_) if running > 0 => {
                return Step::Wait;
            }
            Round::Serial(start) => {
                let start = *start;
                self.round = Round::SerialStarted;
                return Step::Start(start);
            }
            Round::Singleton(start) => {
                let start = *start;
                self.round = Round::SingletonStarted;
                return Step::Start(start);
            }
            Round::SingletonStarted => return Step::Done,
            Round::SerialStarted => {}
        }
        match self.next_round() {
            Some(round) => {
                self.round = round;
                self.next(running)
            }
            None => Step::Done,
        }
    }

    fn next_round(&mut self) -> Option<Round> {
        if let Some(round) = self.planned.pop_front() {
            return Some(round);
        }
        let serial = self.serial.choose(&mut self.rng).copied();
        match serial {
            Some(command) if self.parallel.is_empty() || self.rng.gen_bool(self.serial_share) => {
                Some(Round::Serial(self.start(command)))
            }
            _ if self.parallel.is_empty() => None,
            _ => {
                let length = self.rng.gen_range(1..=MAX_ROUND);
                let commands: Vec<_> =
                    (0..length).filter_map(|_| self.parallel.choose(&mut self.rng).copied()).collect();
                Some(self.parallel_round(&commands))
            }
        }
    }

    fn parallel_round(&mut self, commands: &[CommandIndex]) -> Round {
        let waiting = commands.iter().map(|command| self.start(*command)).collect();
        Round::Parallel { waiting, concurrency: self.rng.gen_range(1..=MAX_CONCURRENCY) }
    }

    fn start(&mut self, command: CommandIndex) -> Start {
        Start { command, pause: Duration::from_millis(self.rng.gen_range(0..=MAX_DRIVER_PAUSE_MS)) }
    }
}

/// Anytime commands, one after the other beside the drivers.
#[derive(Debug)]
pub struct Anytime {
    commands: Vec<CommandIndex>,
    rng: StdRng,
}

/// Ends at once if the template has none, else never.
impl Iterator for Anytime {
    type Item = Start;

    fn next(&mut self) -> Option<Start> {
        let command = *self.commands.choose(&mut self.rng)?;
        Some(Start { command, pause: Duration::from_millis(self.rng.gen_range(0..=MAX_ANYTIME_PAUSE_MS)) })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::lab::template::TestCommand;

    fn template(counts: &[(Role, usize)]) -> Template {
        let commands = counts
            .iter()
            .flat_map(|(role, count)| (0..*count).map(|number| (*role, number)))
            .map(|(role, number)| TestCommand {
                container: "c".to_owned(),
                template: "t".to_owned(),
                name: format!("{role:?}_{number}"),
                role,
            })
            .collect();
        Template { name: "t".to_owned(), commands }
    }

    /// Runs the drivers of a schedule with ends at the places that `ends` chooses; returns the starts in
    /// order, each with the drivers that ran when it started.
    fn simulate(drivers: &mut Drivers, ends: &[u8]) -> Vec<(CommandIndex, Vec<CommandIndex>)> {
        let mut running: Vec<CommandIndex> = Vec::new();
        let mut starts = Vec::new();
        for end in ends {
            while let Step::Start(start) = drivers.next(running.len()) {
                starts.push((start.command, running.clone()));
                running.push(start.command);
            }
            if !running.is_empty() {
                running.remove(usize::from(*end) % running.len());
            }
        }
        starts
    }

    fn some_template() -> impl Strategy<Value = Template> {
        (0..3usize, 0..3usize, 0..2usize).prop_map(|(parallel, serial, singleton)| {
            template(&[
                (Role::ParallelDriver, parallel),
                (Role::SerialDriver, serial),
                (Role::SingletonDriver, singleton),
            ])
        })
    }

    #[test]
    fn one_driver_alone_runs_everywhere_once() {
        let mut template =
            template(&[(Role::ParallelDriver, 3), (Role::SingletonDriver, 2), (Role::Finally, 1)]);
        let name = template.commands[3].name.clone();
        template.commands[4].name.clone_from(&name);
        let mut schedule = Schedule::of_driver(&template, &name, 1, Ending::Eventually);
        assert_eq!(schedule.ending.map(|(ending, _)| ending), Some(Ending::Finally));
        let starts: Vec<_> =
            simulate(&mut schedule.drivers, &[0; 5]).into_iter().map(|(start, _)| start).collect();
        assert_eq!((starts, schedule.drivers.next(0)), (vec![3, 4], Step::Done));
    }

    proptest! {
        #[test]
        fn drivers_keep_the_rules(template in some_template(), seed: u64, ends in prop::collection::vec(any::<u8>(), 1..200)) {
            let mut schedule = Schedule::draw(&template, seed, Ending::Eventually);
            let starts = simulate(&mut schedule.drivers, &ends);
            let role = |command: &CommandIndex| template.commands[*command].role;
            for (command, beside) in &starts {
                match role(command) {
                    Role::ParallelDriver => {
                        prop_assert!(beside.iter().all(|other| role(other) == Role::ParallelDriver));
                        prop_assert!(beside.len() < MAX_CONCURRENCY);
                    }
                    Role::SerialDriver => prop_assert!(beside.is_empty()),
                    Role::SingletonDriver => prop_assert!(starts.len() == 1),
                    other => prop_assert!(false, "{other:?} is no driver"),
                }
            }
        }

        #[test]
        fn the_order_of_starts_depends_on_the_seed_alone(
            template in some_template(),
            seed: u64,
            one in prop::collection::vec(any::<u8>(), 100),
            other in prop::collection::vec(any::<u8>(), 100),
        ) {
            let order = |ends: &[u8]| -> Vec<CommandIndex> {
                let mut schedule = Schedule::draw(&template, seed, Ending::Finally);
                simulate(&mut schedule.drivers, ends).into_iter().map(|(command, _)| command).collect()
            };
            let (one, other) = (order(&one), order(&other));
            let common = one.len().min(other.len());
            prop_assert_eq!(&one[..common], &other[..common]);
        }

        #[test]
        fn every_driver_is_tried_early(seed: u64, parallel in 0..4usize, serial in 0..4usize) {
            let template = template(&[(Role::ParallelDriver, parallel), (Role::SerialDriver, serial)]);
            let mut schedule = Schedule::draw(&template, seed, Ending::Eventually);
            let starts = simulate(&mut schedule.drivers, &[0; 40]);
            let tried: BTreeSet<_> = starts.iter().take(parallel + serial).map(|(command, _)| *command).collect();
            prop_assert_eq!(tried.len(), parallel + serial);
        }
    }

    #[test]
    fn parallel_drivers_do_overlap() {
        let template = template(&[(Role::ParallelDriver, 1)]);
        let overlaps = (0..20).any(|seed| {
            let mut schedule = Schedule::draw(&template, seed, Ending::Eventually);
            simulate(&mut schedule.drivers, &[0; 40]).iter().any(|(_, beside)| beside.len() >= 3)
        });
        assert!(overlaps);
    }

    #[test]
    fn endings_alternate_and_fall_back_on_what_there_is() {
        let ending = |counts: &[(Role, usize)], number| {
            Schedule::draw(&template(counts), 1, Ending::of_timeline(number)).ending.map(|(ending, _)| ending)
        };
        let both = [(Role::Eventually, 1), (Role::Finally, 1)];
        assert_eq!(ending(&both, 1), Some(Ending::Eventually));
        assert_eq!(ending(&both, 2), Some(Ending::Finally));
        assert_eq!(ending(&both[..1], 2), Some(Ending::Eventually));
        assert_eq!(ending(&both[1..], 1), Some(Ending::Finally));
        assert_eq!(ending(&[(Role::Anytime, 1)], 1), None);
    }

    #[test]
    fn one_first_command_is_drawn_of_many() {
        let template = template(&[(Role::First, 3), (Role::Anytime, 1)]);
        let drawn: BTreeSet<_> =
            (0..50).map(|seed| Schedule::draw(&template, seed, Ending::Finally).first).collect();
        assert_eq!(drawn, [Some(0), Some(1), Some(2)].into());
    }

    #[test]
    fn anytime_commands_come_again_and_again() {
        let template = template(&[(Role::Anytime, 2)]);
        let mut schedule = Schedule::draw(&template, 7, Ending::Finally);
        let drawn: BTreeSet<_> = schedule.anytime.by_ref().take(50).map(|start| start.command).collect();
        assert_eq!(drawn, [0, 1].into());
        assert_eq!(schedule.drivers.next(0), Step::Done);
    }
}
