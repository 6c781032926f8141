//! Whether a condition holds, by what is known so far.
//!
//! In: the steps of a condition, and the states of attributes. Out: yes, no, or nobody can tell.

use super::tables::{Condition, MAX_STACK, Step};
use super::value::State;

/// The answer; `None` if an attribute that matters is not known.
pub(super) fn holds(
    condition: Condition,
    mut state: impl FnMut(u32) -> Option<State>,
) -> Option<bool> {
    if let Some((tag, mask)) = condition.simple() {
        return state(tag).map(|state| state & mask != 0);
    }
    let mut stack = Stack::default();
    for step in condition.steps() {
        match step {
            Step::Test { tag, bit } => {
                let mask = 1_u64.checked_shl(u32::from(bit))?;
                stack.push(state(tag).map(|state| state & mask != 0));
            }
            Step::Not => {
                let one = stack.pop();
                stack.push(one.map(|one| !one));
            }
            Step::And => {
                let (one, two) = (stack.pop(), stack.pop());
                stack.push(and(one, two));
            }
            Step::Or => {
                let (one, two) = (stack.pop(), stack.pop());
                let neither = and(one.map(|one| !one), two.map(|two| !two));
                stack.push(neither.map(|neither| !neither));
            }
        }
    }
    stack.pop()
}

/// False is certain if one of both is, whatever the other.
fn and(one: Option<bool>, two: Option<bool>) -> Option<bool> {
    match (one, two) {
        (Some(false), _) | (_, Some(false)) => Some(false),
        (Some(true), Some(true)) => Some(true),
        (None, _) | (_, None) => None,
    }
}

#[derive(Default)]
struct Stack {
    results: [Option<bool>; MAX_STACK],
    height: usize,
}

impl Stack {
    fn push(&mut self, result: Option<bool>) {
        if let Some(place) = self.results.get_mut(self.height) {
            *place = result;
        }
        self.height = self.height.saturating_add(1);
    }

    fn pop(&mut self) -> Option<bool> {
        self.height = self.height.saturating_sub(1);
        self.results.get(self.height).copied().flatten()
    }
}
