package main

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/mailflume/mailflume/internal/samples"
)

// The process that run tries messages out in answers for each of them, and says nothing else.
func TestTrialAnswersForEachMessage(t *testing.T) {
	var in, out, complaints bytes.Buffer
	for _, m := range samples.All() {
		in.Write(binary.BigEndian.AppendUint32(nil, uint32(len(m.Raw))))
		in.Write(m.Raw)
	}
	code := execute(t.Context(), newRoot(), trialCommand([]string{"mx.example.org"})[1:], &in, &out, &complaints)
	if want := bytes.Repeat([]byte("k"), len(samples.All())); code != 0 || !bytes.Equal(out.Bytes(), want) || complaints.Len() != 0 {
		t.Errorf("exit %d, answers %q, complaints %q", code, &out, &complaints)
	}
}
