// SPDX-License-Identifier: Apache-2.0

package upstream

// Description is what people are told of one kind of upstream: by `custody upstream explain`, and on its page of the
// documentation, which is made from it.
type Description struct {
	// Type is the name of its parameters in documents, such as postgres; of an http recipe, the recipe's name.
	Type string
	// Title is a heading, Summary one sentence.
	Title   string
	Summary string
	// Modes are the ways in which it can be used, in the order of the page. A kind without a choice has one, named "".
	Modes []Mode
	// Tried says against what it has been run, and plainly when that was never the real service.
	Tried string
	// Page is Markdown from "## Documents" on: example documents, least permissions, what is not guaranteed, the failure
	// table, what a claim and a marker look like, how wrong sign-ins are kept below a lock-out.
	Page string
}

// Mode is one way to use a kind of upstream.
type Mode struct {
	// Name is the value of the account's mode, "" where there is none.
	Name string
	Kind Kind
	// Means says in a sentence how old and new credentials overlap.
	Means string
}
