//! Compares the compiler with libseccomp: both compile the same profiles, and their programs must
//! return the same actions for many calls.
//!
//! A test below explains each deliberate difference. libseccomp has no rule for calls that are
//! newer than the profile, so the comparison leaves them out. `beyond_the_profile` compares them
//! with the rule of runc.

mod judge;
mod profiles;

use judge::{is_known_to_libseccomp, libseccomp_number, libseccomp_program};

use super::assemble::{AND, JUMP, LOAD, RETURN};
use super::interpreter::{SeccompData, run, trace};
use super::{
    Action, Arch, BeyondProfile, Comparison, CompileError, Operator, Profile, Rule, SockFilter,
    Syscall, compile,
};

/// The numbers to try: all small numbers, with and without the bit of x32, and some special ones.
fn numbers() -> impl Iterator<Item = u32> {
    let small = (0..600).chain((0..600).map(|number| 0x4000_0000 | number));
    let odd = [
        1000,
        4000,
        4999,
        0x000f_0005,
        0x3fff_ffff,
        0x4000_1000,
        0x7fff_ffff,
        0x8000_0000,
        0xbfff_ffff,
    ];
    small.chain(odd).chain([0xc000_0000, 0xffff_fffe, 0xffff_ffff])
}

/// The arguments to try: for each rule, some that match and some that are off by one; and for each
/// value of the profile, all six arguments with that value.
fn arguments(profile: &Profile) -> Vec<[u64; 6]> {
    let mut found = vec![[0; 6], [u64::MAX; 6], [1, 2, 3, 4, 5, 6]];
    for rule in &profile.rules {
        let mut satisfying = [0; 6];
        for comparison in &rule.comparisons {
            let Comparison { argument, operator, value, value_two } = *comparison;
            satisfying[usize::from(argument)] = match operator {
                Operator::Ne | Operator::Gt => value.wrapping_add(1),
                Operator::Lt => value.wrapping_sub(1),
                Operator::Le | Operator::Eq | Operator::Ge => value,
                Operator::MaskedEq => value_two,
            };
        }
        found.push(satisfying);
        for comparison in &rule.comparisons {
            for edge in around(comparison.value).into_iter().chain(around(comparison.value_two)) {
                let mut off = satisfying;
                off[usize::from(comparison.argument)] = edge;
                found.extend([off, [edge; 6]]);
            }
        }
    }
    found.sort_unstable();
    found.dedup();
    found
}

fn around(value: u64) -> [u64; 9] {
    let high = 1 << 32;
    [
        value,
        value.wrapping_sub(1),
        value.wrapping_add(1),
        value ^ high,
        value.wrapping_add(high),
        value.wrapping_sub(high),
        value & 0xffff_ffff,
        value << 32,
        !value,
    ]
}

/// A call for which the programs differ.
#[derive(Debug)]
#[expect(dead_code, reason = "printed when the assertion fails")]
struct Difference {
    data: SeccompData,
    ours: u32,
    theirs: u32,
}

/// The results of both programs for the same calls.
#[derive(Debug, Default)]
struct Outcome {
    points: usize,
    /// Both actions belong to matching rules, so the order of the rules differs.
    differences: Vec<Difference>,
    /// The action of libseccomp does not belong to a matching rule, or it has compared the wrong
    /// word.
    libseccomp_is_wrong: usize,
}

/// Compares both programs for all calls. Our action must always belong to a matching rule.
fn sweep(profile: &Profile) -> Outcome {
    let ours = compile(profile).unwrap().program;
    let theirs = libseccomp_program(profile).unwrap();
    let confused = confused(&theirs);
    let interesting: Vec<u32> = {
        let calls = profile
            .rules
            .iter()
            .filter(|rule| !rule.comparisons.is_empty())
            .flat_map(|rule| &rule.calls);
        let on_all =
            |call: &Syscall| Arch::all().filter_map(|arch| call.number(arch)).collect::<Vec<_>>();
        calls.flat_map(on_all).chain([SOCKETCALL, IPC]).collect()
    };
    let plain = [[0; 6], [u64::MAX; 6], [1, 2, 3, 4, 5, 6]];
    let all = arguments(profile);
    let mut outcome = Outcome::default();
    let audits = [Arch::X86_64, Arch::X86, Arch::Aarch64, Arch::Arm, Arch::S390x].map(Arch::audit);
    for audit in audits.into_iter().chain([0, u32::MAX]) {
        for number in numbers() {
            let arguments = if interesting.contains(&number) { all.as_slice() } else { &plain };
            let selectors = if number == SOCKETCALL || number == IPC { 0..26 } else { 0..1 };
            for (arguments, selector) in
                arguments.iter().flat_map(|one| selectors.clone().map(move |s| (one, s)))
            {
                let mut data = SeccompData { number, audit, arguments: *arguments };
                if selector > 0 {
                    data.arguments[0] = selector;
                }
                compare_at(&mut outcome, profile, (&ours, &theirs, &confused), data);
            }
        }
    }
    outcome
}

fn compare_at(
    outcome: &mut Outcome,
    profile: &Profile,
    (ours, theirs, confused): (&[SockFilter], &[SockFilter], &[bool]),
    data: SeccompData,
) {
    let ours = run(ours, &data).0;
    let mut is_confused = false;
    let (theirs, _) = trace(theirs, &data, |at| is_confused |= confused[at]);
    outcome.points += 1;
    let Some(possible) = verdicts_of_rules_that_hold(profile, &data) else {
        assert_eq!((ours, theirs), (0, 0), "{data:x?} is of a convention that is not listed");
        return;
    };
    assert!(possible.contains(&ours), "{data:x?}: {ours:x}, not one of {possible:x?}");
    if is_confused || !possible.contains(&theirs) {
        outcome.libseccomp_is_wrong += 1;
    } else if ours != theirs {
        outcome.differences.push(Difference { data, ours, theirs });
    }
}

/// The instructions that may compare different words, depending on the path to them. This is an
/// error of libseccomp (2.6.1 and older). After the low half of one inequality, it does not load
/// the high half of the argument again, even if the next inequality of the same argument has
/// another high half. Its pseudo-code for the same filter is correct.
fn confused(program: &[SockFilter]) -> Vec<bool> {
    let mut loaded = vec![0_u64; program.len()];
    for (at, insn) in program.iter().enumerate() {
        let word = if insn.code == LOAD { 1 << (insn.k / 4) } else { loaded[at] };
        let jumps = match insn.code {
            RETURN => vec![],
            LOAD | AND => vec![0],
            JUMP => vec![insn.k as usize],
            _ => vec![usize::from(insn.jt), usize::from(insn.jf)],
        };
        for jump in jumps {
            loaded[at + 1 + jump] |= word;
        }
    }
    let compares = |insn: &SockFilter| ![RETURN, LOAD, AND, JUMP].contains(&insn.code);
    program
        .iter()
        .zip(loaded)
        .map(|(insn, words)| compares(insn) && words.count_ones() > 1)
        .collect()
}

const SOCKETCALL: u32 = 102;
const IPC: u32 = 117;

/// The actions of all rules that match the call, or the default action if no rule matches. `None`
/// for an architecture that is not listed.
fn verdicts_of_rules_that_hold(profile: &Profile, data: &SeccompData) -> Option<Vec<u32>> {
    let is_x86_64 = data.audit == Arch::X86_64.audit();
    let arch = match data.number {
        // This is not a call: a tracer sets this number to skip a call.
        u32::MAX if is_x86_64 => Arch::X86_64,
        0x4000_0000.. if is_x86_64 => Arch::X32,
        _ if is_x86_64 => Arch::X86_64,
        _ => profile.architectures.iter().copied().find(|arch| arch.audit() == data.audit)?,
    };
    if arch != Arch::NATIVE && !profile.architectures.contains(&arch) {
        return None;
    }
    let mut verdicts = Vec::new();
    for Rule { calls, action, comparisons } in
        profile.rules.iter().filter(|rule| rule.action != profile.default)
    {
        let is_repeated =
            (0..6).any(|at| comparisons.iter().filter(|one| one.argument == at).count() > 1);
        let holds = |skip_first: bool| {
            let mut each = comparisons
                .iter()
                .map(|one| skip_first && one.argument == 0 || holds(one, arch, data));
            if is_repeated { each.any(|one| one) } else { each.all(|one| one) }
        };
        let is_about = |call: &Syscall| {
            let (carrier, selector) = call.carrier().filter(|_| arch.is_multiplexed()).unzip();
            let is_carried = carrier.and_then(|carrier| carrier.number(arch)) == Some(data.number)
                && selector.map(u64::from) == Some(low(data.arguments[0], arch))
                && holds(true);
            is_carried || call.number(arch) == Some(data.number) && holds(false)
        };
        if calls.iter().any(is_about) {
            verdicts.push(action.to_return_value());
        }
    }
    if verdicts.is_empty() {
        verdicts.push(profile.default.to_return_value());
    }
    Some(verdicts)
}

fn low(value: u64, arch: Arch) -> u64 {
    match arch.width() {
        super::Width::Low => value & 0xffff_ffff,
        super::Width::Full => value,
    }
}

fn holds(comparison: &Comparison, arch: Arch, data: &SeccompData) -> bool {
    let argument = low(data.arguments[usize::from(comparison.argument)], arch);
    let value = low(comparison.value, arch);
    match comparison.operator {
        Operator::Ne => argument != value,
        Operator::Lt => argument < value,
        Operator::Le => argument <= value,
        Operator::Eq => argument == value,
        Operator::Ge => argument >= value,
        Operator::Gt => argument > value,
        Operator::MaskedEq => argument & value == comparison.value_two & value,
    }
}

fn assert_agreement(name: &str, profile: &Profile) -> Outcome {
    let outcome = sweep(profile);
    assert!(
        outcome.differences.is_empty(),
        "{name}: {} of {} points differ, such as {:x?}",
        outcome.differences.len(),
        outcome.points,
        &outcome.differences[..outcome.differences.len().min(5)]
    );
    outcome
}

#[test]
fn libseccomp_agrees_on_every_profile() {
    let mut points = 0;
    for (name, profile) in profiles::all() {
        let outcome = assert_agreement(name, &profile);
        assert_eq!(outcome.libseccomp_is_wrong, 0, "{name}");
        points += outcome.points;
    }
    println!("{points} points");
    assert!(points > 500_000);
}

#[test]
fn libseccomp_agrees_on_random_profiles() {
    let mut points = 0;
    let (mut refused, mut wrong) = (0, 0);
    let mut random = profiles::Random(77);
    for round in 0..60 {
        let profile = profiles::random(&mut random);
        match (compile(&profile), libseccomp_program(&profile)) {
            (Ok(_), Ok(_)) => {
                let outcome = assert_agreement(&format!("round {round}: {profile:?}"), &profile);
                points += outcome.points;
                wrong += outcome.libseccomp_is_wrong;
            }
            (Err(CompileError::Conflict { .. }), Err(_)) => refused += 1,
            (ours, theirs) => {
                panic!("round {round}: {:?}, {:?}, {profile:?}", ours.err(), theirs.err())
            }
        }
    }
    println!(
        "{points} points, {wrong} of them wrong in libseccomp, {refused} profiles refused by both"
    );
}

#[test]
fn numbers_agree_with_libseccomp() {
    for arch in Arch::all() {
        let mut compared = 0;
        for call in Syscall::all() {
            let Some(theirs) = libseccomp_number(call, arch) else { continue };
            compared += 1;
            assert_eq!(call.number(arch), Some(theirs), "{} on {arch:?}", call.name());
        }
        println!("{compared} names of {arch:?}");
    }
}

#[test]
fn deliberate_differences() {
    for profiles::Deliberate { why, profile, number, arguments, verdict } in profiles::deliberate()
    {
        let data = SeccompData { number, audit: Arch::X86_64.audit(), arguments };
        let ours = run(&compile(&profile).unwrap().program, &data).0;
        assert_eq!(ours, verdict.to_return_value(), "{why}");
        let possible = verdicts_of_rules_that_hold(&profile, &data).unwrap();
        assert!(possible.contains(&ours), "{why}");
        // Not asserted, since a newer libseccomp may do it differently.
        match libseccomp_program(&profile) {
            Ok(theirs) => println!("{why}: {ours:x}, libseccomp {:x}", run(&theirs, &data).0),
            Err(error) => println!("{why}: {ours:x}, libseccomp {error}"),
        }
    }
}

#[test]
fn a_large_profile_is_short_and_quick() {
    let mut profile = profiles::docker_like();
    profile.beyond = BeyondProfile::NoSuchCall;
    let program = compile(&profile).unwrap().program;
    let start = std::time::Instant::now();
    for _ in 0..100 {
        assert_eq!(compile(&profile).unwrap().program.len(), program.len());
    }
    let elapsed = start.elapsed() / 100;
    let audit = Arch::X86_64.audit();
    let steps: usize = (0..450)
        .map(|number| run(&program, &SeccompData { number, audit, arguments: [0; 6] }).1)
        .sum();
    let calls: usize = profile.rules.iter().map(|rule| rule.calls.len()).sum();
    println!(
        "{calls} calls: {elapsed:?}, {} instructions, {:.1} steps",
        program.len(),
        steps as f64 / 450.0
    );
    assert!(program.len() < 700, "{}", program.len());
    assert!(steps < 13 * 450, "{steps}");
}
