package rotate

import "context"

// Plan returns what Run would report, in order, if nothing went wrong. It changes
// nothing and calls only what reads.
func (r *Rotation) Plan(ctx context.Context, o Options) ([]Event, error) {
	s, err := r.look(ctx)
	if err != nil {
		return nil, err
	}
	if s.stale {
		s.rec = nil
	}
	if s.rec != nil && s.rec.isKept() && r.Now().Before(s.rec.keptUntil()) {
		return nil, s.isKept()
	}
	var plan []Event
	add := func(e Event) { plan = append(plan, e) }
	old, keep, isStored := s.stored.AccessKeyID, o.Keep, false
	switch {
	case s.rec == nil && o.OlderThan > 0 && s.age() < o.OlderThan:
		return []Event{{What: TooYoung, KeyID: old, Age: s.age()}}, nil
	case s.rec == nil:
		if err := s.refuseOthers(ctx); err != nil {
			return nil, err
		}
		add(Event{What: Creating, KeyID: old})
	case s.rec.New.AccessKeyID == "":
		add(Event{What: Resuming})
		for _, k := range s.keys {
			if k.ID == old {
				continue
			}
			lost, err := s.isLost(ctx, k)
			if err != nil {
				return nil, err
			}
			if lost {
				add(Event{What: LostDeleted, KeyID: k.ID})
			}
		}
		add(Event{What: Creating, KeyID: old})
	default:
		old, isStored = s.rec.Old.AccessKeyID, s.stored.AccessKeyID == s.rec.New.AccessKeyID
		add(Event{What: Resuming, KeyID: s.rec.New.AccessKeyID, Undo: s.rec.Undo})
	}
	if s.rec != nil && (keep == 0 || s.rec.Undo || s.rec.isKept()) {
		keep = s.rec.Keep
	}
	if err := s.findCopies(ctx); err != nil {
		return nil, err
	}
	add(Event{What: Proved})
	if !isStored {
		add(Event{What: Stored, Name: s.Name})
	}
	for _, p := range s.copies {
		add(Event{What: Stored, Name: p.Name, Where: p.Where})
	}
	kept := s.rec != nil && s.rec.isKept()
	if !kept {
		add(Event{What: Inactive, KeyID: old})
		add(Event{What: Proved})
	}
	if keep > 0 && !kept {
		add(Event{What: Kept, KeyID: old, Until: r.Now().Add(keep)})
		return plan, nil
	}
	add(Event{What: Deleted, KeyID: old})
	return plan, nil
}
