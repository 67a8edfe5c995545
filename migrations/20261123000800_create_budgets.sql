-- What settling has cost, by the hour and by whom it was for. Counted once for each submission, never by one hot row for each
-- settle.
CREATE TABLE budgets (
    network   text          NOT NULL,
    hour      timestamptz   NOT NULL,
    subject   text          NOT NULL,
    spent_wei numeric(39,0) NOT NULL CHECK (spent_wei >= 0),
    PRIMARY KEY (network, hour, subject)
);

CREATE INDEX budgets_by_hour ON budgets (hour);
