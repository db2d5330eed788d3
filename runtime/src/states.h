/* states.h: memory that a loop's turns hand on. */
#ifndef HR_STATES_H
#define HR_STATES_H

#include "session.h"

/* Makes room in the states for the buffers of a segment whose plan is valid; what they hold stays. */
hr_status hr_states_settle(hr_session *session, uint32_t segment, hr_error *error);

#endif
