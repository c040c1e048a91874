// SPDX-License-Identifier: Apache-2.0

package main

// row is a kind of work, and the benchmark that measures it.
type row struct {
	work, size string
	// benchmark is a pattern of names. What its first group finds is the size.
	benchmark string
	// units of the figures, in the order in which they are shown. Ratios, whose unit is x-PART, are shown by themselves.
	units []string
	aim   string
}

const secrets = "secrets"

var (
	took  = []string{"ns/op"}
	loads = []string{"ns/op", "B/op"}
	asked = []string{"ns/op", "CPU-ms"}
)

// rows are in the order in which they are printed: what is asked, what changes, what is always there.
var rows = []row{
	{"inventory, within the server", secrets, `Question/inventory_of_(\d+)`, loads, "< 0.5 s; of 100,000 < 3 s"},
	{"status, within the server", secrets, `Question/status_of_(\d+)`, loads, "< 0.5 s; of 100,000 < 3 s"},
	{"plan, within the server", secrets, `Question/plan_of_(\d+)`, loads, "< 0.5 s; of 100,000 < 3 s"},
	{"counting for /metrics", secrets, `Question/summary_of_(\d+)`, loads, "< 0.5 s; of 100,000 < 3 s"},
	{"inventory, over the socket", secrets, `Served/inventory_of_(\d+)`, asked, "< 0.5 s; of 100,000 < 3 s"},
	{"status, over the socket", secrets, `Served/status_of_(\d+)`, asked, "< 0.5 s; of 100,000 < 3 s"},
	{"plan, over the socket", secrets, `Served/plan_of_(\d+)`, asked, "< 0.5 s; of 100,000 < 3 s"},
	{"/metrics", secrets, `Served/metrics_of_(\d+)`, asked, "< 0.5 s; of 100,000 < 3 s"},
	{"explain", secrets, `Served/explain_of_(\d+)`, asked, "by index"},
	{"run show", secrets, `Served/run_show_of_(\d+)`, asked, "by index"},
	{"doctor", secrets, `Served/doctor_of_(\d+)`, asked, "one pass"},
	{"events of one run", "events", `Record/one_run_of_(\d+)`, loads, "by index"},

	{"first issue and delivery", secrets, `FirstIssue/of_(\d+)`, []string{"secrets/s", "CPU-ms/secret"}, "≥ 200/s, ≤ 5 ms CPU"},
	{"its system calls", secrets, `FirstIssue/calls_of_(\d+)`, []string{"fsync/secret", "fdatasync/secret", "stat/secret", "getdents/secret"}, "syncs are shared; stat is constant"},
	{"delivery of one version", "files in the folder", `Deliver/of=(\d+)`, took, "the same in each folder"},
	{"writes of a rotation that was asked for", "", `RotationWrites/dual`, []string{"writes"}, "≤ 6, ≤ 2 for the request, and the anchor's, once a second"},
	{"writing a value", "1 KiB", `Write`, []string{"ours-ns"}, ""},
	{"writing a value, 16 at once", "1 KiB", `WriteTogether`, []string{"ours-ns"}, "shared syncs"},
	{"an event on record", "", `Append`, took, ""},
	{"an event on record, 16 at once", "", `AppendTogether`, took, "shared syncs"},
	{"destroying a version", "2,000 free pages", `Destroy`, []string{"ours-ns"}, "what it freed"},
	{"a commit that changes one document", secrets, `Served/change_of_(\d+)`, []string{"ns/op", "CPU-ms", "looks"}, "wakes that one"},

	{"lint", "10,000 documents", `Lint`, []string{"ns/op", "MB-heap", "B/op"}, "< 2 s, < 150 MB"},
	{"lint with one bad document", "10,000 documents", `Mixture`, took, "< 2 s"},
	{"start of the server", secrets, `Served/start_of_(\d+)`, []string{"ns/op", "CPU-ms", "MiB-peak"}, "of 100,000 < 10 s, < 500 MiB"},
	{"a command, only started", "", `Command`, asked, ""},
	{"a command without a server", secrets, `Served/alone_of_(\d+)`, []string{"ns/op", "CPU-ms", "MiB-peak"}, "of 100,000 < 10 s, < 500 MiB"},
	{"opening the record", "events", `Record/open_of_(\d+)`, loads, "of 10 million < 10 s, < 500 MiB"},
	{"audit verify", "events", `Record/verify_of_(\d+)`, took, "reads all"},

	{"one finished look", secrets, `FinishedLook/of_(\d+)`, loads, "cost of what is due"},
	{"idle, for one minute", secrets, `Served/idle_of_(\d+)`, []string{"CPU-ms/min"}, "≤ 1,000 ms CPU"},
	{"memory of the server", secrets, `Served/memory_of_(\d+)`, []string{"MiB-resident", "MiB-own"}, "of 10,000 < 100 MiB"},
	{"memory of each secret that is bound", secrets, `Bound/of_(\d+)`, []string{"kept-B/secret"}, ""},
}
