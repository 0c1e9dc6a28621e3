//! The order of the rules for one system call on one architecture.
//!
//! Profiles are written for libseccomp, which sorts the conditions into a tree. If two rules match
//! the same call, the order in the tree decides, and not the order in the profile. This file makes
//! a list in the same order as the tree:
//!
//! * a rule without conditions comes first, at any position in the profile;
//! * a condition on a higher argument comes before one on a lower argument;
//! * equality before "less", "less" before "greater";
//! * the larger value first (for "less", the smaller), 64-bit values by their halves;
//! * then the order of the profile.
//!
//! One more detail of the tree: "greater" and "less or equal" with the same value are one node. So
//! are "greater or equal" and "less". The node has the position of the one that comes first in the
//! profile.

use super::arch::Width;
use super::{Comparison, Operator};

/// The comparisons of a filter. The other operators are negations of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Test {
    Eq,
    MaskedEq,
    Ge,
    Gt,
}

/// A [`Comparison`] in the form of a filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Condition {
    pub argument: u8,
    pub test: Test,
    /// Whether the condition holds if the comparison does not.
    pub negated: bool,
    pub mask: u64,
    pub value: u64,
}

/// All conditions of a rule, and its action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clause {
    /// In the order of the arguments, each at most once.
    pub conditions: Vec<Condition>,
    /// The return value of the filter.
    pub verdict: u32,
}

/// Two clauses contradict each other: the later and the earlier one, by their positions.
#[derive(Debug, PartialEq, Eq)]
pub struct Contradiction {
    pub later: usize,
    pub earlier: usize,
}

impl Condition {
    /// Returns `None` for a condition that always holds.
    pub fn new(comparison: &Comparison, width: Width) -> Option<Self> {
        let (test, negated) = match comparison.operator {
            Operator::Eq => (Test::Eq, false),
            Operator::Ne => (Test::Eq, true),
            Operator::MaskedEq => (Test::MaskedEq, false),
            Operator::Ge => (Test::Ge, false),
            Operator::Lt => (Test::Ge, true),
            Operator::Gt => (Test::Gt, false),
            Operator::Le => (Test::Gt, true),
        };
        let (mask, value) = match test {
            Test::MaskedEq => (comparison.value, comparison.value_two),
            _ => (u64::MAX, comparison.value),
        };
        let mask = match width {
            Width::Low => mask & u64::from(u32::MAX),
            Width::Full => mask,
        };
        let condition =
            Self { argument: comparison.argument, test, negated, mask, value: value & mask };
        (mask != 0).then_some(condition)
    }

    fn is_less(&self) -> bool {
        self.negated && self.test != Test::Eq
    }

    /// The comparisons of 32-bit words in the tree of libseccomp.
    fn steps(&self, width: Width) -> impl Iterator<Item = WordComparison> {
        let rank = match self.test {
            Test::Eq | Test::MaskedEq => 3,
            Test::Ge | Test::Gt if self.negated => 2,
            Test::Ge | Test::Gt => 1,
        };
        let step = |test, high| WordComparison {
            word: self.argument * 2 + u8::from(high),
            rank,
            test,
            ascending: self.is_less(),
            mask: half(self.mask, high),
            value: half(self.value, high),
        };
        // For "greater or equal": the high half is greater, or it is equal and the low half is
        // compared.
        let of_high = if self.test == Test::Ge { Test::Gt } else { self.test };
        let high = (width == Width::Full).then(|| step(of_high, true));
        high.into_iter().chain([step(self.test, false)])
    }
}

/// The high or low 32 bits.
pub fn half(value: u64, high: bool) -> u32 {
    if high { (value >> 32) as u32 } else { value as u32 }
}

/// One comparison of a 32-bit word, with its position in the tree.
#[derive(Debug, Clone, Copy)]
struct WordComparison {
    word: u8,
    rank: u8,
    test: Test,
    ascending: bool,
    mask: u32,
    value: u32,
}

impl WordComparison {
    /// Whether both are the same node of the tree, even with different actions.
    fn is(&self, other: &Self) -> bool {
        (self.word, self.test, self.mask, self.value)
            == (other.word, other.test, other.mask, other.value)
    }

    fn goes_before(&self, there: &Self) -> bool {
        if (self.word, self.rank) != (there.word, there.rank) {
            return (self.word, self.rank) > (there.word, there.rank);
        }
        if there.ascending { self.value < there.value } else { self.value > there.value }
    }
}

/// Sorts the clauses for one call, which are in the order of the profile, and removes clauses that
/// never match.
///
/// # Errors
/// An error if two clauses have the same conditions, or if a clause has only some of the conditions
/// of an earlier one, and their actions differ. libseccomp refuses these profiles, too.
pub fn in_order(clauses: Vec<Clause>, width: Width) -> Result<Vec<Clause>, Contradiction> {
    if let Some(always) = clauses.iter().find(|clause| clause.conditions.is_empty()) {
        return Ok(vec![always.clone()]);
    }
    let kept = without_redundant(&clauses)?;
    let paths: Vec<Vec<WordComparison>> = clauses
        .iter()
        .map(|clause| {
            clause.conditions.iter().flat_map(|condition| condition.steps(width)).collect()
        })
        .collect();
    let mut order = Vec::with_capacity(kept.len());
    arrange(&paths, kept, 0, &mut order);
    Ok(order.into_iter().map(|at| clauses[at].clone()).collect())
}

/// Removes the clauses that a clause with fewer conditions makes unreachable.
fn without_redundant(clauses: &[Clause]) -> Result<Vec<usize>, Contradiction> {
    let mut kept: Vec<usize> = Vec::with_capacity(clauses.len());
    for (later, clause) in clauses.iter().enumerate() {
        let covers =
            |wide: &Clause, narrow: &Clause| narrow.conditions.starts_with(&wide.conditions);
        if let Some(&earlier) = kept.iter().find(|earlier| covers(&clauses[**earlier], clause)) {
            let there = &clauses[earlier];
            if there.conditions == clause.conditions && there.verdict != clause.verdict {
                return Err(Contradiction { later, earlier });
            }
            continue;
        }
        let contradicts =
            |earlier: &Clause| earlier.verdict != clause.verdict && covers(clause, earlier);
        if let Some(&earlier) = kept.iter().find(|earlier| contradicts(&clauses[**earlier])) {
            return Err(Contradiction { later, earlier });
        }
        kept.retain(|earlier| !covers(clause, &clauses[*earlier]));
        kept.push(later);
    }
    Ok(kept)
}

/// Sorts `members` into one level of the tree, then the members of each node into the level below.
fn arrange(
    paths: &[Vec<WordComparison>],
    members: Vec<usize>,
    depth: usize,
    order: &mut Vec<usize>,
) {
    let mut level: Vec<(WordComparison, Vec<usize>)> = Vec::new();
    for member in members {
        let Some(step) = paths[member].get(depth) else {
            order.push(member);
            continue;
        };
        match level.iter().position(|(there, _)| there.is(step) || step.goes_before(there)) {
            Some(at) if level[at].0.is(step) => level[at].1.push(member),
            Some(at) => level.insert(at, (*step, vec![member])),
            None => level.push((*step, vec![member])),
        }
    }
    for (_, members) in level {
        match members.as_slice() {
            [only] => order.push(*only),
            _ => arrange(paths, members, depth + 1, order),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Clause, Condition, Contradiction, in_order};
    use crate::seccomp::{Comparison, Operator, Width};

    fn clause(verdict: u32, conditions: &[(u8, Operator, u64)]) -> Clause {
        let conditions = conditions.iter().filter_map(|&(argument, operator, value)| {
            Condition::new(&Comparison { argument, operator, value, value_two: 0 }, Width::Full)
        });
        Clause { conditions: conditions.collect(), verdict }
    }

    fn verdicts(clauses: Vec<Clause>) -> Result<Vec<u32>, Contradiction> {
        Ok(in_order(clauses, Width::Full)?.iter().map(|clause| clause.verdict).collect())
    }

    #[test]
    fn a_rule_without_conditions_beats_all_others() {
        let clauses = vec![clause(1, &[(0, Operator::Eq, 1)]), clause(2, &[]), clause(3, &[])];
        assert_eq!(verdicts(clauses), Ok(vec![2]));
    }

    #[test]
    fn higher_arguments_then_closer_conditions_come_first() {
        let clauses = vec![
            clause(1, &[(0, Operator::Gt, 1)]),
            clause(2, &[(0, Operator::Lt, 9)]),
            clause(3, &[(0, Operator::Eq, 5)]),
            clause(4, &[(1, Operator::Eq, 5)]),
            clause(5, &[(0, Operator::Gt, 7)]),
            clause(6, &[(0, Operator::Lt, 2)]),
        ];
        assert_eq!(verdicts(clauses), Ok(vec![4, 3, 6, 2, 5, 1]));
    }

    #[test]
    fn the_wider_of_two_rules_must_come_first_unless_they_agree() {
        let narrow = |verdict| clause(verdict, &[(0, Operator::Eq, 1), (1, Operator::Eq, 2)]);
        let wide = |verdict| clause(verdict, &[(0, Operator::Eq, 1)]);
        assert_eq!(verdicts(vec![wide(1), narrow(2)]), Ok(vec![1]));
        assert_eq!(verdicts(vec![narrow(1), wide(1)]), Ok(vec![1]));
        assert_eq!(verdicts(vec![narrow(1), wide(1), narrow(2)]), Ok(vec![1]));
        assert_eq!(verdicts(vec![narrow(1), wide(2)]), Err(Contradiction { later: 1, earlier: 0 }));
        assert_eq!(verdicts(vec![wide(1), wide(2)]), Err(Contradiction { later: 1, earlier: 0 }));
    }
}
