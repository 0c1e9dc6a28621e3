//! Assembles a filter, from the last instruction to the first.
//!
//! A filter can only jump forwards. In this order, each target already exists, and its distance is
//! known. If it is too far for the 8 bits of a conditional jump, a long jump or a `return` is
//! written directly after the conditional jump.

use super::SockFilter;
use super::arch::{Arch, Width};
use super::clauses::{Clause, Condition, Test, half};

/// `BPF_LD | BPF_W | BPF_ABS`: load a word of `seccomp_data`.
pub const LOAD: u16 = 0x20;
/// `BPF_ALU | BPF_AND | BPF_K`.
pub const AND: u16 = 0x54;
/// `BPF_JMP | BPF_JA`.
pub const JUMP: u16 = 0x05;
/// `BPF_JMP | BPF_JEQ | BPF_K`.
pub const JUMP_EQ: u16 = 0x15;
/// `BPF_JMP | BPF_JGT | BPF_K`.
pub const JUMP_GT: u16 = 0x25;
/// `BPF_JMP | BPF_JGE | BPF_K`.
pub const JUMP_GE: u16 = 0x35;
/// `BPF_RET | BPF_K`.
pub const RETURN: u16 = 0x06;

/// The offset of the number of the call in `seccomp_data`.
pub const NUMBER: u32 = 0;
/// The offset of the architecture.
pub const ARCHITECTURE: u32 = 4;
/// The offset of the first of six 64-bit arguments.
pub const ARGUMENTS: u32 = 16;

/// An instruction that is already written, counted from the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Label(usize);

/// The target of a jump.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JumpTarget {
    Return(u32),
    At(Label),
}

/// A comparison of the loaded word.
#[derive(Debug, Clone, Copy)]
pub struct Branch {
    pub code: u16,
    pub k: u32,
    pub yes: JumpTarget,
    pub no: JumpTarget,
}

/// The instructions that are already written, the last one first.
#[derive(Debug, Default)]
pub struct Assembler {
    reversed: Vec<SockFilter>,
    /// The position of the latest `return` of each value.
    returns: Vec<(u32, Label)>,
}

impl Assembler {
    /// The program in the order of execution.
    pub fn finish(mut self) -> Vec<SockFilter> {
        self.reversed.reverse();
        self.reversed
    }

    fn push(&mut self, code: u16, k: u32) -> Label {
        self.reversed.push(SockFilter { code, jt: 0, jf: 0, k });
        Label(self.reversed.len() - 1)
    }

    /// How many instructions a jump skips to reach `label`, when `more` instructions are written
    /// before it.
    fn distance(&self, label: Label, more: usize) -> usize {
        self.reversed.len() + more - label.0 - 1
    }

    fn is_near(&self, label: Label, more: usize) -> bool {
        self.distance(label, more) <= usize::from(u8::MAX)
    }

    /// An instruction for `target` that a conditional jump can reach with at most `more`
    /// instructions in between.
    fn near(&mut self, target: JumpTarget, more: usize) -> Label {
        match target {
            JumpTarget::Return(value) => self.near_return(value, more),
            JumpTarget::At(label) if self.is_near(label, more) => label,
            JumpTarget::At(label) => {
                let skipped = self.distance(label, 0);
                self.push(JUMP, u32::try_from(skipped).unwrap_or(u32::MAX))
            }
        }
    }

    fn near_return(&mut self, value: u32, more: usize) -> Label {
        let known = self.returns.iter().position(|(known, _)| *known == value);
        if let Some(at) = known
            && self.is_near(self.returns[at].1, more)
        {
            return self.returns[at].1;
        }
        let label = self.push(RETURN, value);
        match known {
            Some(at) => self.returns[at].1 = label,
            None => self.returns.push((value, label)),
        }
        label
    }

    /// Writes a conditional jump.
    pub fn branch(&mut self, branch: Branch) -> Label {
        let yes = self.near(branch.yes, 1);
        let no = self.near(branch.no, 0);
        let (jt, jf) = (self.distance(yes, 0), self.distance(no, 0));
        // `near` guarantees that both fit. A jump that does not fit must not be truncated.
        let (Ok(jt), Ok(jf)) = (u8::try_from(jt), u8::try_from(jf)) else {
            unreachable!("a jump over {jt} or {jf} instructions")
        };
        self.reversed.push(SockFilter { code: branch.code, jt, jf, k: branch.k });
        Label(self.reversed.len() - 1)
    }

    /// Writes an instruction that loads a word, before `next`.
    pub fn load(&mut self, offset: u32, next: JumpTarget) -> Label {
        self.fall_through_to(next);
        self.push(LOAD, offset)
    }

    /// Lets `next` follow the instruction that is written next.
    fn fall_through_to(&mut self, next: JumpTarget) {
        match next {
            JumpTarget::Return(value) => {
                self.push(RETURN, value);
            }
            JumpTarget::At(label) => match self.distance(label, 0) {
                0 => {}
                skipped => {
                    self.push(JUMP, u32::try_from(skipped).unwrap_or(u32::MAX));
                }
            },
        }
    }

    /// Writes the clauses: the action of the first clause whose conditions hold, or else `default`.
    pub fn clauses(&mut self, clauses: &[Clause], arch: Arch, default: u32) -> JumpTarget {
        let mut otherwise = JumpTarget::Return(default);
        let mut rest = clauses;
        while let Some(last) = rest.last() {
            let values =
                rest.iter().rev().take_while(|clause| clause.differs_in_low_half(last)).count();
            let (before, these) = rest.split_at(rest.len() - values.max(1));
            otherwise = match these {
                [clause] => self.clause(clause, arch, otherwise),
                values => self.values(values, arch, otherwise),
            };
            rest = before;
        }
        otherwise
    }

    fn clause(&mut self, clause: &Clause, arch: Arch, otherwise: JumpTarget) -> JumpTarget {
        let mut then = JumpTarget::Return(clause.verdict);
        for condition in clause.conditions.iter().rev() {
            then = self.condition(condition, arch, (then, otherwise));
        }
        then
    }

    /// Writes the comparison of one argument with many values, as in profiles for `ioctl`. The
    /// halves of the argument are loaded once.
    fn values(&mut self, clauses: &[Clause], arch: Arch, otherwise: JumpTarget) -> JumpTarget {
        let mut next = otherwise;
        for (condition, verdict) in clauses.iter().rev().filter_map(Clause::as_lone_equality) {
            let branch =
                Branch { code: JUMP_EQ, k: half(condition.value, false), yes: verdict, no: next };
            next = JumpTarget::At(self.branch(branch));
        }
        let (Some((condition, _)), JumpTarget::At(looks)) = (clauses[0].as_lone_equality(), next)
        else {
            return otherwise;
        };
        let mut first = self.load_masked(condition, arch, (false, looks));
        if arch.width() == Width::Full {
            let k = half(condition.value, true);
            let looks = self.branch(Branch { code: JUMP_EQ, k, yes: first, no: otherwise });
            first = self.load_masked(condition, arch, (true, looks));
        }
        first
    }

    fn condition(
        &mut self,
        condition: &Condition,
        arch: Arch,
        (then, otherwise): (JumpTarget, JumpTarget),
    ) -> JumpTarget {
        let (yes, no) = if condition.negated { (otherwise, then) } else { (then, otherwise) };
        let Condition { mask, value, .. } = *condition;
        let is_equality = matches!(condition.test, Test::Eq | Test::MaskedEq);
        let mut after = yes;
        if half(mask, false) != 0 || !is_equality {
            let code = match condition.test {
                Test::Eq | Test::MaskedEq => JUMP_EQ,
                Test::Ge => JUMP_GE,
                Test::Gt => JUMP_GT,
            };
            let low = self.branch(Branch { code, k: half(value, false), yes, no });
            after = self.load_masked(condition, arch, (false, low));
        }
        if arch.width() == Width::Full && half(mask, true) != 0 {
            let k = half(value, true);
            let mut high = self.branch(Branch { code: JUMP_EQ, k, yes: after, no });
            if !is_equality {
                high = self.branch(Branch { code: JUMP_GT, k, yes, no: JumpTarget::At(high) });
            }
            after = self.load_masked(condition, arch, (true, high));
        }
        after
    }

    /// Writes the load of the high or low half of an argument, before the instruction that compares
    /// it.
    fn load_masked(
        &mut self,
        condition: &Condition,
        arch: Arch,
        (high, looks): (bool, Label),
    ) -> JumpTarget {
        let mask = half(condition.mask, high);
        let mut next = JumpTarget::At(looks);
        if mask != u32::MAX {
            self.fall_through_to(next);
            next = JumpTarget::At(self.push(AND, mask));
        }
        let second_word = if high == arch.is_big_endian() { 0 } else { 4 };
        JumpTarget::At(self.load(ARGUMENTS + 8 * u32::from(condition.argument) + second_word, next))
    }
}

impl Clause {
    /// The condition and the action of a clause that compares one argument for equality.
    fn as_lone_equality(&self) -> Option<(&Condition, JumpTarget)> {
        match self.conditions.as_slice() {
            [condition] if condition.test == Test::Eq && !condition.negated => {
                Some((condition, JumpTarget::Return(self.verdict)))
            }
            _ => None,
        }
    }

    /// Whether both compare the same argument for equality, with values that have the same high
    /// half.
    fn differs_in_low_half(&self, other: &Self) -> bool {
        let word = |clause: &Self| {
            clause
                .as_lone_equality()
                .map(|(condition, _)| (condition.argument, half(condition.value, true)))
        };
        word(self).is_some() && word(self) == word(other)
    }
}

#[cfg(test)]
mod tests {
    use super::{Assembler, Branch, JUMP, JUMP_EQ, JumpTarget};

    #[test]
    fn a_far_target_gets_a_long_jump() {
        let mut assembler = Assembler::default();
        let end = assembler.load(0, JumpTarget::Return(7));
        let mut next = JumpTarget::At(end);
        for k in 0..300 {
            next = JumpTarget::At(assembler.branch(Branch {
                code: JUMP_EQ,
                k,
                yes: JumpTarget::At(end),
                no: next,
            }));
        }
        let program = assembler.finish();
        let far = program.iter().filter(|insn| insn.code == JUMP).count();
        assert_eq!(program.len(), 2 + 300 + far);
        assert!(far > 0);
    }
}
