//! The profiles that are compared.

use super::{
    Action, Arch, BeyondProfile, Comparison, Operator, Profile, Rule, Syscall,
    is_known_to_libseccomp,
};

const EPERM: Action = Action::Errno(1);
const EACCES: Action = Action::Errno(13);
const X86_FAMILY: [Arch; 3] = [Arch::X86_64, Arch::X86, Arch::X32];

fn on(argument: u8, operator: Operator, value: u64) -> Comparison {
    Comparison { argument, operator, value, value_two: 0 }
}

fn masked(argument: u8, mask: u64, value: u64) -> Comparison {
    Comparison { argument, operator: Operator::MaskedEq, value: mask, value_two: value }
}

fn rule(action: Action, names: &[&str], comparisons: &[Comparison]) -> Rule {
    let calls = names.iter().map(|name| Syscall::from_name(name).unwrap()).collect();
    Rule { calls, action, comparisons: comparisons.to_vec() }
}

fn profile(default: Action, architectures: &[Arch], rules: Vec<Rule>) -> Profile {
    Profile {
        default,
        architectures: architectures.to_vec(),
        rules,
        beyond: BeyondProfile::Default,
    }
}

/// The calls that Docker's default profile does not allow without a capability.
const DOCKER_DENIES: [&str; 41] = [
    "acct",
    "add_key",
    "bpf",
    "clone",
    "clone3",
    "create_module",
    "delete_module",
    "finit_module",
    "fsconfig",
    "fsmount",
    "fsopen",
    "fspick",
    "get_kernel_syms",
    "init_module",
    "ioperm",
    "iopl",
    "kexec_file_load",
    "kexec_load",
    "keyctl",
    "lookup_dcookie",
    "mount",
    "mount_setattr",
    "move_mount",
    "nfsservctl",
    "open_by_handle_at",
    "open_tree",
    "perf_event_open",
    "personality",
    "pivot_root",
    "query_module",
    "quotactl",
    "reboot",
    "request_key",
    "setns",
    "socket",
    "stime",
    "swapoff",
    "swapon",
    "umount",
    "umount2",
    "unshare",
];

/// A profile like Docker's default: about 360 calls are allowed, and a few more under conditions.
pub fn docker_like() -> Profile {
    // The libseccomp of Debian 12 does not have this call for x32.
    let is_new_to_x32 = |call: &Syscall| call.name() == "map_shadow_stack";
    let has_32_bit =
        |call: &Syscall| call.number(Arch::X86_64).is_some() || call.number(Arch::X86).is_some();
    let is_allowed = |call: &Syscall| {
        has_32_bit(call)
            && !DOCKER_DENIES.contains(&call.name())
            && !is_new_to_x32(call)
            && is_known_to_libseccomp(*call)
    };
    let allowed: Vec<Syscall> = Syscall::all().filter(is_allowed).take(355).collect();
    let mut rules = vec![
        Rule { calls: allowed, action: Action::Allow, comparisons: Vec::new() },
        rule(Action::Allow, &["process_vm_readv", "process_vm_writev", "ptrace"], &[]),
        rule(Action::Allow, &["socket"], &[on(0, Operator::Ne, 40)]),
    ];
    for persona in [0x0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff] {
        rules.push(rule(Action::Allow, &["personality"], &[on(0, Operator::Eq, persona)]));
    }
    rules.push(rule(Action::Allow, &["clone"], &[masked(0, 0x7e02_0000, 0)]));
    rules.push(rule(Action::Errno(38), &["clone3"], &[]));
    profile(EPERM, &X86_FAMILY, rules)
}

pub fn all() -> Vec<(&'static str, Profile)> {
    use Operator::{Eq, Ge, Gt, Le, Lt, Ne};
    let large = 0x1_0000_0005;
    let mut profiles = vec![
        ("docker-like", docker_like()),
        ("docker-like, x86_64 alone", {
            let mut profile = docker_like();
            profile.architectures.clear();
            profile
        }),
    ];
    for (name, architectures) in [
        ("native", &[][..]),
        ("x86", &[Arch::X86]),
        ("x32", &[Arch::X32]),
        ("arm", &[Arch::Aarch64, Arch::Arm, Arch::X86]),
    ] {
        profiles.push((
            name,
            profile(
                EPERM,
                architectures,
                vec![
                    rule(
                        Action::Allow,
                        &["read", "write", "openat", "rt_sigaction", "socketcall", "set_tls"],
                        &[],
                    ),
                    rule(Action::Log, &["ioctl", "execve"], &[on(1, Eq, 0x5401)]),
                ],
            ),
        ));
    }
    for (operator, name) in [(Eq, "eq"), (Ne, "ne"), (Lt, "lt"), (Le, "le"), (Gt, "gt"), (Ge, "ge")]
    {
        let values =
            [0, 1, 0x7fff_ffff, 0xffff_ffff, 0x1_0000_0000, large, 0xffff_ffff_0000_0000, u64::MAX];
        let rules = ["read", "write", "open", "close", "stat", "fstat", "lstat", "poll"];
        let rules = rules
            .iter()
            .zip(values)
            .map(|(call, value)| rule(Action::Trap, &[call], &[on(2, operator, value)]));
        profiles.push((name, profile(Action::Allow, &X86_FAMILY, rules.collect())));
    }
    profiles.extend(mixed(large));
    profiles
}

/// Profiles whose rules share calls, arguments or actions.
#[expect(clippy::too_many_lines, reason = "a table")]
fn mixed(large: u64) -> Vec<(&'static str, Profile)> {
    use Operator::{Eq, Ge, Gt, Le, Lt, Ne};
    let masks = vec![
        rule(EACCES, &["read"], &[masked(0, 0xff00, 0x1200)]),
        rule(EACCES, &["write"], &[masked(1, 0xff_0000_00ff, 0x12_0000_0034)]),
        rule(EACCES, &["open"], &[masked(2, 0xff_0000_0000, 0x12_0000_0000)]),
        rule(EACCES, &["close"], &[masked(3, 0, 7)]),
        rule(EACCES, &["poll"], &[masked(0, 0xf0, 0xff)]),
        rule(EACCES, &["lseek"], &[masked(0, u64::MAX, large)]),
    ];
    let several = vec![
        rule(Action::Allow, &["openat"], &[on(0, Eq, 1), on(1, Ne, 2), on(5, Eq, large)]),
        rule(
            Action::Allow,
            &["mmap"],
            &[on(2, Lt, large), on(3, Ge, 7), on(1, Gt, large), on(0, Le, 9)],
        ),
        rule(Action::Allow, &["dup3"], &[on(0, Eq, 1), on(0, Eq, 3)]),
        rule(Action::Allow, &["socket"], &[on(0, Eq, 2), on(1, Eq, 1)]),
        rule(Action::Allow, &["semget", "shmat", "sendmsg", "accept"], &[]),
        rule(Action::Allow, &["msgsnd"], &[on(2, Eq, 1)]),
    ];
    let overlapping = vec![
        rule(EACCES, &["read"], &[on(0, Eq, 5)]),
        rule(Action::Trap, &["read"], &[on(1, Eq, 5)]),
        rule(Action::Log, &["read"], &[on(0, Gt, 3)]),
        rule(Action::KillProcess, &["read"], &[on(0, Lt, 100)]),
        rule(EACCES, &["write"], &[on(0, Gt, 10)]),
        rule(Action::Trap, &["write"], &[on(0, Gt, 20)]),
        rule(Action::Log, &["write"], &[on(0, Gt, large)]),
        rule(EACCES, &["open"], &[on(0, Le, 10)]),
        rule(Action::Trap, &["open"], &[on(0, Le, 5)]),
        rule(EACCES, &["close"], &[on(0, Eq, 10)]),
        rule(Action::Trap, &["close"], &[]),
        rule(Action::Log, &["close"], &[]),
        rule(EACCES, &["stat"], &[masked(0, 0xf, 1)]),
        rule(Action::Log, &["stat"], &[on(0, Eq, 0x11)]),
        rule(EACCES, &["fstat"], &[on(0, Eq, 1)]),
        rule(Action::Trap, &["fstat"], &[on(0, Eq, 1), on(1, Eq, 1)]),
    ];
    let actions = vec![
        rule(Action::Allow, &["read"], &[]),
        rule(Action::KillThread, &["write"], &[]),
        rule(Action::KillProcess, &["open"], &[]),
        rule(Action::Trap, &["close"], &[]),
        rule(Action::Errno(4094), &["stat"], &[]),
        rule(Action::Errno(0), &["getpid"], &[]),
        rule(Action::Trace(7), &["fstat"], &[]),
        rule(Action::Log, &["lstat"], &[]),
        rule(Action::Notify, &["mkdir"], &[]),
        rule(Action::KillThread, &["mmap"], &[on(2, Eq, 7)]),
    ];
    let deny =
        ["mount", "umount2", "ptrace", "kexec_load", "bpf", "setns", "unshare", "socket", "keyctl"];
    vec![
        ("masks", profile(Action::Allow, &X86_FAMILY, masks)),
        ("several arguments", profile(EPERM, &X86_FAMILY, several)),
        ("overlapping", profile(Action::Allow, &X86_FAMILY, overlapping)),
        ("actions", profile(EPERM, &X86_FAMILY, actions.clone())),
        ("actions, killed by default", profile(Action::KillThread, &[Arch::X86], actions.clone())),
        ("actions, traced by default", profile(Action::Trace(1), &[Arch::X32], actions)),
        ("deny-list", profile(Action::Allow, &X86_FAMILY, vec![rule(EPERM, &deny, &[])])),
        ("no rules", profile(Action::Allow, &[], Vec::new())),
        ("no rules, three conventions", profile(EPERM, &X86_FAMILY, Vec::new())),
    ]
}

/// A call for which libseccomp returns another action, or a profile that it refuses, and why we do
/// not do the same.
pub struct Deliberate {
    pub why: &'static str,
    pub profile: Profile,
    pub number: u32,
    pub arguments: [u64; 6],
    pub verdict: Action,
}

#[expect(clippy::too_many_lines, reason = "a table")]
pub fn deliberate() -> Vec<Deliberate> {
    use Operator::{Eq, Ge, Gt, Le, Lt, Ne};
    let on_read = |why, rules: &[(Action, &[Comparison])], arguments, verdict| {
        let rules = rules
            .iter()
            .map(|(action, comparisons)| rule(*action, &["read"], comparisons))
            .collect();
        Deliberate { why, profile: profile(EPERM, &[], rules), number: 0, arguments, verdict }
    };
    let high = 1 << 32;
    vec![
        on_read(
            "it looks at the low half of argument 3 where the second rule needs the high half",
            &[
                (Action::Log, &[on(3, Lt, 2 * high)]),
                (Action::Allow, &[on(1, Le, 5)]),
                (EACCES, &[on(3, Le, 1)]),
            ],
            [0, 0, 0, 2, 0, 0],
            Action::Log,
        ),
        on_read(
            "of two 'less' with one high half, the smaller wins unless the high half is smaller yet (until 2.6)",
            &[(Action::Allow, &[on(3, Le, high + 2)]), (Action::Log, &[on(3, Lt, high + 1)])],
            [0, 0, 0, 5, 0, 0],
            Action::Log,
        ),
        on_read(
            "of two 'greater' with one high half, the larger wins unless the high half is larger yet",
            &[
                (Action::Trap, &[on(2, Le, 0xff)]),
                (Action::Log, &[on(2, Gt, 0x11)]),
                (Action::Trap, &[on(2, Ge, 0xef)]),
            ],
            [0, 0, high, 0, 0, 0],
            Action::Trap,
        ),
        on_read(
            "of two 'not equal' with one high half, the larger wins unless the high half differs",
            &[(Action::Log, &[on(2, Ne, 5)]), (Action::Trap, &[on(2, Ne, 7)])],
            [0, 0, high, 0, 0, 0],
            Action::Trap,
        ),
        on_read(
            "the condition on argument 1 of the second rule leaks into the first",
            &[
                (Action::Allow, &[on(0, Gt, 5), on(1, Eq, 1)]),
                (Action::Log, &[on(0, Gt, 50), on(1, Eq, 2)]),
            ],
            [20, 2, 0, 0, 0, 0],
            EPERM,
        ),
        on_read(
            "it refuses contradictions that a rule without conditions settles",
            &[
                (Action::Trap, &[on(0, Eq, 1)]),
                (Action::Log, &[on(0, Eq, 1)]),
                (Action::Allow, &[]),
            ],
            [1, 0, 0, 0, 0, 0],
            Action::Allow,
        ),
    ]
}

/// Xorshift, so that each run has the same profiles.
pub struct Random(pub u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }

    fn among<T: Copy>(&mut self, list: &[T]) -> T {
        list[usize::try_from(self.below(list.len() as u64)).unwrap()]
    }
}

/// Changes values so that random rules avoid the errors of libseccomp, which
/// `deliberate_differences` shows.
fn apart(operator: Operator, value: u64) -> u64 {
    match operator {
        // Two values never have the same high half, and never equal the value of a "less".
        Operator::Gt | Operator::Ge => value & !0xffff_ffff | 0x10,
        // Two values never have the same high half, except 0.
        Operator::Lt | Operator::Le if value >> 32 != 0 => value & !0xffff_ffff,
        // Two values never have the same high half.
        Operator::Ne => value & !0xffff_ffff | 0xff,
        // The mask always has a bit.
        Operator::MaskedEq => value | 1,
        _ => value,
    }
}

/// A profile whose rules often match the same calls. Only equality is combined over several
/// arguments, for the same reason as in [`apart`].
pub fn random(random: &mut Random) -> Profile {
    use Operator::{Eq, Ge, Gt, Le, Lt, MaskedEq, Ne};
    let values = [0, 1, 2, 5, 0xff, 0xffff_ffff, 0x1_0000_0001, 0x1_0000_0002, 0x2_0000_0000];
    let actions = [Action::Allow, EACCES, Action::Trap, Action::Log];
    let calls = ["read", "openat", "socket", "shmget", "ioctl", "clone"];
    let greater = random.among(&[Gt, Ge]);
    let mut rules = Vec::new();
    for _ in 0..=random.below(12) {
        let several = random.below(3) == 0;
        let operators: &[Operator] =
            if several { &[Eq, MaskedEq] } else { &[Eq, MaskedEq, greater, Lt, Le, Ne] };
        let first = if several { 0 } else { random.below(4) };
        let comparisons: Vec<Comparison> =
            (first..=if several { 1 + random.below(2) } else { first })
                .map(|argument| {
                    let operator = random.among(operators);
                    Comparison {
                        argument: u8::try_from(argument).unwrap(),
                        operator,
                        value: apart(operator, random.among(&values)),
                        value_two: random.among(&values),
                    }
                })
                .collect();
        rules.push(rule(random.among(&actions), &[random.among(&calls)], &comparisons));
    }
    let architectures = random.among(&[&X86_FAMILY[..], &[], &[Arch::X86]]);
    profile(random.among(&[EPERM, Action::Allow]), architectures, rules)
}
