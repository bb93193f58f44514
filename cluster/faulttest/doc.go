// Package faulttest could convict a cluster of breaking its promises. It plays a
// small hunt on a cluster that is being hurt, writes down what every client saw,
// and judges that history afterwards.
//
// Three parts, each of which knows nothing of the others' insides:
//
//   - Workload plays: it asks a Cluster, which is a network of real processes or
//     one in virtual time, and adds an Op to a Log for every call.
//   - The Log is the evidence: a line of JSON for each Op. What is not in it
//     does not count.
//   - Check judges a history. Its checkers are named after the promises, and each is
//     tested with histories that break its promise: a checker that accepts
//     everything would accept a broken cluster.
//
// What hurts the cluster is whoever runs the workload's matter. It adds what it does
// to the same Log, so that Summarize can say what was done under which fault, and
// Floors can refuse a run in which too little happened to prove anything.
//
// Clocks: all times of a history are of one clock, which no fault touches.
package faulttest
