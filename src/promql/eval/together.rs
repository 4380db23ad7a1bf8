//! Two range functions that are read together: those of the two sides of an operator.
//!
//! What is divided by one another mostly lies in the same segments (`x_sum` and `x_count`), and reading a few series of
//! a segment costs nearly as much as reading many. So where both sides of an operator contain a function of a plain
//! selector over the same time, whichever is evaluated first reads the other's series too, and leaves the other's
//! columns here: one value per step, up to [`KEPT_WEIGHT_MAX`] in all. Beyond that they are given up, and read when
//! their turn comes.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use super::column::Series;
use super::range::{RangeFunction, reads_like};
use super::{Evaluator, Result, Steps, unwrap_parens};
use crate::promql::ast::{BinaryExpr, Call, Expr, Node};

/// Samples that may be kept: 8 MiB.
const KEPT_WEIGHT_MAX: u64 = 1 << 20;

/// The pairs of a query, innermost last.
#[derive(Default)]
pub(super) struct Together {
    pairs: RefCell<Vec<Pair>>,
    /// Something was read ahead.
    is_used: Cell<bool>,
    /// Nothing is any more.
    is_off: Cell<bool>,
}

struct Pair {
    calls: [Side; 2],
    steps: Steps,
    reads: u64,
    /// One of them has been read.
    is_begun: bool,
}

struct Side {
    /// Where the call stands in memory: the tree stays where it is while it is evaluated.
    address: usize,
    call: Rc<Call>,
    kept: Option<Kept>,
}

/// What a function gave ahead of its turn.
#[derive(Default)]
pub(super) struct Kept {
    pub series: Vec<Series>,
    /// How many samples count as read for it.
    pub samples_read: u64,
    /// What it takes of the query's budget.
    pub weight: u64,
}

impl Kept {
    /// Whether it has outgrown its bound.
    pub fn is_too_much(&self) -> bool {
        self.weight > KEPT_WEIGHT_MAX
    }
}

impl Together {
    /// Reads every function in its turn from now on; false if that changes nothing.
    pub fn read_apart(&self) -> bool {
        self.is_used.get() && !self.is_off.replace(true)
    }

    /// Notes the functions of an operator's sides, if they can be read together; whether that is so.
    pub fn begin(&self, evaluator: &Evaluator<'_>, binary: &BinaryExpr) -> Result<bool> {
        if self.is_off.get() {
            return Ok(false);
        }
        // At a single step, reading each with the labels that are looked at costs less.
        let is_aggregate = |expr: &Expr| matches!(unwrap_parens(expr).node, Node::Aggregate(_));
        if evaluator.steps.count == 1 && is_aggregate(&binary.lhs) && is_aggregate(&binary.rhs) {
            return Ok(false);
        }
        let (Some(lhs), Some(rhs)) = (range_call(&binary.lhs), range_call(&binary.rhs)) else { return Ok(false) };
        if !reads_like(evaluator, lhs, rhs)? {
            return Ok(false);
        }
        // In `a + (b + c)`, `b` may have been read with `a`.
        let mut pairs = self.pairs.borrow_mut();
        let is_begun = [lhs, rhs].into_iter().any(|call| {
            pairs_of(&mut pairs, evaluator, address(call)).any(|(pair, side)| pair.calls[side].kept.is_some())
        });
        let side = |call: &Call| Side { address: address(call), call: Rc::new(call.clone()), kept: None };
        let pair = Pair { calls: [side(lhs), side(rhs)], steps: evaluator.steps, reads: evaluator.reads, is_begun };
        pairs.push(pair);
        Ok(true)
    }

    /// Forgets the pair that was noted last.
    pub fn end(&self, evaluator: &Evaluator<'_>) {
        let pair = self.pairs.borrow_mut().pop();
        for kept in pair.into_iter().flat_map(|pair| pair.calls).filter_map(|side| side.kept) {
            evaluator.query.budget.give_back(kept.weight);
        }
    }

    /// The function to be read together with this one. All pairs of either are begun then: in `(a + b) + c`, `c` is
    /// read for itself, and not `a` once more with it.
    pub fn partner(&self, evaluator: &Evaluator<'_>, call: &Call) -> Option<Rc<Call>> {
        let mut pairs = self.pairs.borrow_mut();
        let partner = pairs_of(&mut pairs, evaluator, address(call))
            .find(|(pair, _)| !pair.is_begun)
            .map(|(pair, side)| (pair.calls[1 - side].address, Rc::clone(&pair.calls[1 - side].call)));
        for address in partner.iter().map(|(address, _)| *address).chain([address(call)]) {
            pairs_of(&mut pairs, evaluator, address).for_each(|(pair, _)| pair.is_begun = true);
        }
        self.is_used.set(self.is_used.get() || partner.is_some());
        partner.map(|(_, call)| call)
    }

    /// Keeps what the partner of a function gave.
    pub fn keep(&self, evaluator: &Evaluator<'_>, call: &Call, kept: Kept) {
        if let Some((pair, side)) = pairs_of(&mut self.pairs.borrow_mut(), evaluator, address(call)).next() {
            pair.calls[1 - side].kept = Some(kept);
        }
    }

    /// What was kept of a function.
    pub fn take(&self, evaluator: &Evaluator<'_>, call: &Call) -> Option<Kept> {
        pairs_of(&mut self.pairs.borrow_mut(), evaluator, address(call))
            .find_map(|(pair, side)| pair.calls[side].kept.take())
    }
}

/// The pairs with this call, evaluated as they were noted, and on which side it stands: innermost first.
fn pairs_of<'p>(
    pairs: &'p mut [Pair],
    evaluator: &Evaluator<'_>,
    address: usize,
) -> impl Iterator<Item = (&'p mut Pair, usize)> {
    let (steps, reads) = (evaluator.steps, evaluator.reads);
    pairs.iter_mut().rev().filter(move |pair| pair.steps == steps && pair.reads == reads).filter_map(move |pair| {
        let side = pair.calls.iter().position(|side| side.address == address)?;
        Some((pair, side))
    })
}

fn address(call: &Call) -> usize {
    std::ptr::from_ref(call) as usize
}

/// The first function of a range within an expression, if everything around it is evaluated at the same steps.
fn range_call(expr: &Expr) -> Option<&Call> {
    match &expr.node {
        Node::Paren(inner) | Node::Unary(_, inner) => range_call(inner),
        Node::Aggregate(aggregate) => range_call(&aggregate.expr),
        Node::Binary(binary) => range_call(&binary.lhs).or_else(|| range_call(&binary.rhs)),
        Node::Call(call) if RangeFunction::named(call.function.name).is_some() => Some(call),
        Node::Call(call) => call.args.iter().find_map(range_call),
        _ => None,
    }
}
