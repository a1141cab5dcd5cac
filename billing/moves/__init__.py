"""What people do to homes: move in, move out, change the room; replace a meter, correct a reading.

    homes.move_in(asked, room_id=, registers=)                   -> Operation
    homes.move_out(asked, tenancy_id=, registers=)               -> Operation, its outcome the last bill
    homes.change_room(asked, tenancy_id=, to_room_id=, …)        -> Operation
    devices.replace_meter(asked, installation_id=, old=, new=)   -> Operation
    devices.correct_reading(asked, installation_id=, right_wh=)  -> Operation

Each is one transaction, done once a key, and leaves an `Operation` with the registers that it was done at. Registers
that people read are readings like any other, so that the chain of a meter goes through them.

Lock order: Room (by id), Purse (by id), Draw, Backlog, Meter, Level. Who fails half way leaves everything as it was.
"""
