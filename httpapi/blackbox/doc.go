// Package blackbox holds tests of the whole program from outside: clusters of
// real processes on real disks, spoken to over HTTP and the command line as
// users do, and killed, paused and damaged as machines are.
//
// It has nothing to import. What its tests have in common:
//
//   - The program is built once per run, with the race detector if the tests
//     are. A node's log that holds a data race or a panic fails the test.
//   - Faults follow from a seed, which is printed; CAIRN_SEED=N sets it.
//   - CAIRN_LONG=1 runs the long forms, see longForm and form.
//   - Tests of anything but speed run while another one does, see besideAnother.
//   - CAIRN_GPH_DATA=DIR names the real hunt's data.
//   - Whatever waits polls a condition until a deadline that is generous: a
//     busy machine makes the tests slower, not wrong.
package blackbox
