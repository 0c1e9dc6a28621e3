//! Compiles a profile: finds the clauses for each architecture and system call number.
//!
//! The program first compares the architecture. Then it searches for the number in a binary tree of
//! ranges with the same action. x86_64 and x32 are in one tree, since the kernel reports the same
//! architecture for both.

use super::arch::{Arch, Width, X32_BIT};
use super::assemble::{
    ARCHITECTURE, Assembler, Branch, JUMP_EQ, JUMP_GE, JumpTarget, Label, NUMBER,
};
use super::clauses::{Clause, Condition, in_order};
use super::{
    Action, BeyondProfile, Comparison, CompileError, Filter, MAX_INSTRUCTIONS, Operator, Profile,
    Rule, Syscall,
};

/// Compiles a profile.
///
/// # Errors
/// An error if two rules contradict each other, or if the program is too long for the kernel.
pub fn compile(profile: &Profile) -> Result<Filter, CompileError> {
    let mut compiler = Compiler {
        profile,
        default: profile.default.to_return_value(),
        lists: Vec::new(),
        assembler: Assembler::default(),
    };
    // The program is written backwards: the native architecture, which is compared first, is
    // written last.
    let mut roots: Vec<(u32, Label)> = Vec::new();
    let mut architectures = vec![Arch::NATIVE];
    architectures.extend(&profile.architectures);
    while let Some(arch) = architectures.pop() {
        let audit = arch.audit();
        let is_done = roots.iter().any(|(done, _)| *done == audit);
        let is_native_too_early = audit == Arch::NATIVE.audit() && !architectures.is_empty();
        if is_done || is_native_too_early {
            continue;
        }
        let ranges = compiler.ranges(arch)?;
        let tree = compiler.tree(&ranges);
        roots.push((audit, compiler.assembler.load(NUMBER, tree)));
    }
    // As with libseccomp, this is the action for architectures that the profile does not list.
    let mut next = JumpTarget::Return(Action::KillThread.to_return_value());
    for (audit, root) in roots {
        let branch = Branch { code: JUMP_EQ, k: audit, yes: JumpTarget::At(root), no: next };
        next = JumpTarget::At(compiler.assembler.branch(branch));
    }
    compiler.assembler.load(ARCHITECTURE, next);
    let program = compiler.assembler.finish();
    if program.len() > MAX_INSTRUCTIONS {
        return Err(CompileError::TooLong(program.len()));
    }
    Ok(Filter { program })
}

/// The result for a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leaf {
    Return(u32),
    /// An index of [`Compiler::lists`].
    Clauses(usize),
}

/// A list of conditions that several calls share.
struct ClauseList {
    clauses: Vec<Clause>,
    arch: Arch,
    /// Their position, once they are written.
    written: Option<JumpTarget>,
}

/// A rule that applies to a number.
#[derive(Debug, Clone, Copy)]
struct Claim {
    number: u32,
    rule: usize,
    call: Syscall,
    /// The value that the first argument must have, if the number belongs to `socketcall` or `ipc`.
    selector: Option<u16>,
}

/// Ranges of numbers. Each begins at its number and ends where the next one begins.
#[derive(Debug, Default)]
struct Ranges(Vec<(u32, Leaf)>);

impl Ranges {
    /// Adds a range that begins at `start`, which is not below the beginning of the last range.
    fn push(&mut self, start: u32, leaf: Leaf) {
        if self.0.last().is_some_and(|(last, _)| *last == start) {
            self.0.pop();
        }
        if self.0.last().is_none_or(|(_, last)| *last != leaf) {
            self.0.push((start, leaf));
        }
    }
}

struct Compiler<'a> {
    profile: &'a Profile,
    default: u32,
    lists: Vec<ClauseList>,
    assembler: Assembler,
}

impl Compiler<'_> {
    fn has(&self, arch: Arch) -> bool {
        arch == Arch::NATIVE || self.profile.architectures.contains(&arch)
    }

    /// The actions for all numbers with the audit value of `arch`.
    fn ranges(&mut self, arch: Arch) -> Result<Ranges, CompileError> {
        let mut ranges = Ranges::default();
        if !matches!(arch, Arch::X86_64 | Arch::X32) {
            self.add_numbers(arch, 0, &mut ranges)?;
            return Ok(ranges);
        }
        // Calls of the other convention with the same audit value are treated as calls of another
        // architecture.
        let foreign = Leaf::Return(Action::KillThread.to_return_value());
        if self.has(Arch::X86_64) {
            self.add_numbers(Arch::X86_64, 0, &mut ranges)?;
        } else {
            ranges.push(0, foreign);
        }
        if self.has(Arch::X32) {
            self.add_numbers(Arch::X32, X32_BIT, &mut ranges)?;
        } else {
            ranges.push(X32_BIT, foreign);
            // A tracer sets the number to -1 to skip a call, and the filter is run again.
            ranges.push(u32::MAX, Leaf::Return(self.default));
        }
        Ok(ranges)
    }

    /// Adds the actions for the numbers of one architecture. `first` is the lowest number.
    fn add_numbers(
        &mut self,
        arch: Arch,
        first: u32,
        ranges: &mut Ranges,
    ) -> Result<(), CompileError> {
        let (claims, highest) = self.claims(arch);
        let answers_beyond =
            self.profile.beyond == BeyondProfile::NoSuchCall && !self.profile.default.lets_pass();
        let highest = highest.filter(|highest| answers_beyond && *highest > 0);
        let default = Leaf::Return(self.default);
        let no_such_call = Leaf::Return(Action::NO_SUCH_CALL.to_return_value());
        ranges.push(first, default);
        if highest.is_some() && arch.hides_unknown_calls_behind_zero() {
            ranges.push(first, no_such_call);
            ranges.push(first + 1, default);
        }
        for claims in claims.chunk_by(|a, b| a.number == b.number) {
            let leaf = self.leaf(claims, arch)?;
            ranges.push(claims[0].number, leaf);
            ranges.push(claims[0].number + 1, default);
        }
        if let Some(highest) = highest {
            ranges.push(highest + 1, no_such_call);
        }
        Ok(())
    }

    /// The numbers that the rules name, sorted by number and then by rule, and the highest of all
    /// named numbers.
    fn claims(&self, arch: Arch) -> (Vec<Claim>, Option<u32>) {
        let mut claims = Vec::with_capacity(512);
        let mut highest = None;
        for (rule, Rule { calls, action, .. }) in self.profile.rules.iter().enumerate() {
            // A rule with the default action needs no code, but the calls in it count as known.
            let is_redundant = *action == self.profile.default;
            for &call in calls {
                let carrier = if arch.is_multiplexed() { call.carrier() } else { None };
                let carried = carrier
                    .and_then(|(carrier, selector)| Some((carrier.number(arch)?, Some(selector))));
                let direct = call.number(arch).map(|number| (number, None));
                for (number, selector) in carried.into_iter().chain(direct) {
                    highest = highest.max(Some(number));
                    if !is_redundant {
                        claims.push(Claim { number, rule, call, selector });
                    }
                }
            }
        }
        claims.sort_by_key(|claim| claim.number);
        (claims, highest)
    }

    /// The result of all rules for one number.
    fn leaf(&mut self, claims: &[Claim], arch: Arch) -> Result<Leaf, CompileError> {
        let rules = &self.profile.rules;
        let is_unconditional =
            |claim: &&Claim| claim.selector.is_none() && rules[claim.rule].comparisons.is_empty();
        if let Some(claim) = claims.iter().find(is_unconditional) {
            return Ok(Leaf::Return(rules[claim.rule].action.to_return_value()));
        }
        let mut clauses = Vec::with_capacity(claims.len());
        let mut origins = Vec::with_capacity(claims.len());
        for claim in claims {
            for comparisons in alternatives(&rules[claim.rule].comparisons) {
                let conditions = conditions(comparisons, claim.selector, arch.width());
                clauses.push(Clause {
                    conditions,
                    verdict: rules[claim.rule].action.to_return_value(),
                });
                origins.push(claim);
            }
        }
        let clauses =
            in_order(clauses, arch.width()).map_err(|contradiction| CompileError::Conflict {
                rule: origins[contradiction.later].rule,
                earlier: origins[contradiction.earlier].rule,
                call: origins[contradiction.later].call,
                arch,
            })?;
        if let [Clause { conditions, verdict }] = clauses.as_slice()
            && conditions.is_empty()
        {
            return Ok(Leaf::Return(*verdict));
        }
        let is_same = |list: &ClauseList| {
            let (there, here) = (list.arch, arch);
            list.clauses == clauses
                && there.width() == here.width()
                && there.is_big_endian() == here.is_big_endian()
        };
        let known = self.lists.iter().position(is_same);
        Ok(Leaf::Clauses(known.unwrap_or_else(|| {
            self.lists.push(ClauseList { clauses, arch, written: None });
            self.lists.len() - 1
        })))
    }

    fn target(&mut self, leaf: Leaf) -> JumpTarget {
        let index = match leaf {
            Leaf::Return(value) => return JumpTarget::Return(value),
            Leaf::Clauses(index) => index,
        };
        let list = &mut self.lists[index];
        *list
            .written
            .get_or_insert_with(|| self.assembler.clauses(&list.clauses, list.arch, self.default))
    }

    /// Writes the search for a number.
    fn tree(&mut self, ranges: &Ranges) -> JumpTarget {
        self.subtree(&ranges.0)
    }

    fn subtree(&mut self, ranges: &[(u32, Leaf)]) -> JumpTarget {
        match *ranges {
            [] => JumpTarget::Return(self.default),
            [(_, leaf)] => self.target(leaf),
            // One number between two ranges with the same action.
            [(_, around), (number, leaf), (next, after)]
                if around == after && next == number + 1 =>
            {
                let (yes, no) = (self.target(leaf), self.target(around));
                JumpTarget::At(self.assembler.branch(Branch { code: JUMP_EQ, k: number, yes, no }))
            }
            _ => {
                let (below, above) = ranges.split_at(ranges.len() / 2);
                let (yes, no) = (self.subtree(above), self.subtree(below));
                JumpTarget::At(self.assembler.branch(Branch {
                    code: JUMP_GE,
                    k: above[0].0,
                    yes,
                    no,
                }))
            }
        }
    }
}

/// The conditions of a rule. If two of them are for the same argument, each condition is an
/// alternative, as in runc.
fn alternatives(comparisons: &[Comparison]) -> impl Iterator<Item = &[Comparison]> {
    let mut seen = 0_u8;
    let is_repeated = comparisons.iter().any(|comparison| {
        let bit = 1 << comparison.argument;
        let is_repeated = seen & bit != 0;
        seen |= bit;
        is_repeated
    });
    let together = if is_repeated { 1 } else { comparisons.len().max(1) };
    comparisons.is_empty().then_some(comparisons).into_iter().chain(comparisons.chunks(together))
}

/// The conditions of one alternative, sorted. For a multiplexed call, the selector replaces a
/// condition on the first argument. libseccomp does the same, although the other arguments are then
/// in memory that a filter cannot read.
fn conditions(comparisons: &[Comparison], selector: Option<u16>, width: Width) -> Vec<Condition> {
    let selector = selector.map(|selector| Comparison {
        argument: 0,
        operator: Operator::Eq,
        value: u64::from(selector),
        value_two: 0,
    });
    let others =
        comparisons.iter().filter(|comparison| selector.is_none() || comparison.argument != 0);
    let mut conditions: Vec<Condition> = selector
        .iter()
        .chain(others)
        .filter_map(|comparison| Condition::new(comparison, width))
        .collect();
    conditions.sort_by_key(|condition| condition.argument);
    conditions
}

#[cfg(target_arch = "x86_64")]
#[cfg(test)]
mod tests {
    use super::compile;
    use crate::seccomp::interpreter::{SeccompData, run};
    use crate::seccomp::{
        Action, Arch, BeyondProfile, Comparison, CompileError, Operator, Profile, Rule, Syscall,
    };

    const NO_SUCH_CALL: u32 = 0x0005_0026;
    const EPERM: u32 = 0x0005_0001;
    const ALLOW: u32 = 0x7fff_0000;
    const KILL: u32 = 0;

    fn allowing(default: Action, architectures: &[Arch], names: &[&str]) -> Profile {
        let calls = names.iter().map(|name| Syscall::from_name(name).unwrap()).collect();
        let rules = vec![Rule { calls, action: Action::Allow, comparisons: Vec::new() }];
        Profile {
            default,
            architectures: architectures.to_vec(),
            rules,
            beyond: BeyondProfile::NoSuchCall,
        }
    }

    fn verdict(profile: &Profile, arch: Arch, number: u32) -> u32 {
        let data = SeccompData { number, audit: arch.audit(), arguments: [0; 6] };
        run(&compile(profile).unwrap().program, &data).0
    }

    #[test]
    fn calls_beyond_the_profile_do_not_exist() {
        let family = [Arch::X86_64, Arch::X86, Arch::X32];
        let profile = allowing(Action::Errno(1), &family, &["read", "openat", "ioctl", "socket"]);
        let cases = [
            // openat is 257, the highest number that the profile names.
            (Arch::X86_64, 257, ALLOW),
            (Arch::X86_64, 256, EPERM),
            (Arch::X86_64, 258, NO_SUCH_CALL),
            (Arch::X86_64, 0x3fff_ffff, NO_SUCH_CALL),
            // runc ignores that `socket`, 359, is named too, and treats i386 as if it did not
            // exist.
            (Arch::X86, 359, ALLOW),
            (Arch::X86, 358, EPERM),
            (Arch::X86, 360, NO_SUCH_CALL),
            (Arch::X86, u32::MAX, NO_SUCH_CALL),
            // ioctl is 514 in x32.
            (Arch::X32, 0x4000_0202, ALLOW),
            (Arch::X32, 0x4000_0203, NO_SUCH_CALL),
            (Arch::X32, u32::MAX, NO_SUCH_CALL),
            (Arch::Aarch64, 0, KILL),
        ];
        for (arch, number, expected) in cases {
            assert_eq!(verdict(&profile, arch, number), expected, "{arch:?} {number}");
        }
    }

    #[test]
    fn without_x32_its_numbers_are_foreign_but_for_the_skipped_call() {
        let profile = allowing(Action::Errno(1), &[], &["read", "openat"]);
        for (number, expected) in
            [(258, NO_SUCH_CALL), (0x4000_0000, KILL), (u32::MAX - 1, KILL), (u32::MAX, EPERM)]
        {
            assert_eq!(verdict(&profile, Arch::X86_64, number), expected, "{number:#x}");
        }
    }

    #[test]
    fn a_default_that_lets_calls_pass_lets_all_pass() {
        for default in [Action::Allow, Action::Log, Action::Trace(1)] {
            let profile = allowing(default, &[], &["read"]);
            assert_eq!(verdict(&profile, Arch::X86_64, 1000), default.to_return_value());
        }
        // As in runc: a profile that names only number 0 does not define which calls are new.
        assert_eq!(
            verdict(&allowing(Action::Trap, &[], &["read"]), Arch::X86_64, 1000),
            0x0003_0000
        );
        assert_eq!(
            verdict(&allowing(Action::KillProcess, &[], &["write"]), Arch::X86_64, 1000),
            NO_SUCH_CALL
        );
    }

    #[test]
    fn unknown_calls_of_s390_are_number_zero() {
        let profile = allowing(Action::Errno(1), &[Arch::S390x], &["read"]);
        for (number, expected) in [(0, NO_SUCH_CALL), (1, EPERM), (3, ALLOW), (4, NO_SUCH_CALL)] {
            assert_eq!(verdict(&profile, Arch::S390x, number), expected, "{number}");
        }
    }

    #[test]
    fn the_kernel_takes_4096_instructions() {
        let mut profile = allowing(Action::Errno(1), &[], &["read"]);
        let ioctl = Syscall::from_name("ioctl").unwrap();
        let rule = |value| Rule {
            calls: vec![ioctl],
            action: Action::Allow,
            comparisons: vec![Comparison {
                argument: 1,
                operator: Operator::Eq,
                value,
                value_two: 0,
            }],
        };
        profile.rules.extend((0..4000).map(rule));
        assert_eq!(verdict(&profile, Arch::X86_64, 16), ALLOW);
        profile.rules.extend((4000..4100).map(rule));
        assert!(matches!(compile(&profile), Err(CompileError::TooLong(4097..))));
    }
}
